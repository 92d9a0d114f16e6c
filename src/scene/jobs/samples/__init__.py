"""What is tried on samples of a video: the score of a CRF, and how long enhancement and encoding take."""
