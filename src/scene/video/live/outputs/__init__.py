"""What takes the packets of a live run."""
