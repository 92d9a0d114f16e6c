"""The output file: formats, tracks, tags, and its verification."""
