"""Long work as one call: request in, result out."""
