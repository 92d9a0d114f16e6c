"""Many files, each by itself."""
