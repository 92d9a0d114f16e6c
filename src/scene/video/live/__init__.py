"""Live video: sources that come and go, one clock over all of that, and outputs that are watched while they grow."""
