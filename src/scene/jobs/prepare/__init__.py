"""What is found out before a file is encoded: what would be refused, the CRF of a quality, what it would take."""
