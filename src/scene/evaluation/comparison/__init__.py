"""The measurements of an evaluation for files made elsewhere."""
