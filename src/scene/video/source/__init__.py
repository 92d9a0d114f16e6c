"""A source: opened safely, described, decoded, excerpted."""
