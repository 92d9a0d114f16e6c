"""Where it matters: maps of importance over the picture, 0 to 255, and what to hold them against."""
