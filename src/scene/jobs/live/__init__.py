"""Live video: enhanced where there is time for it, passed on where there is none, and all of it counted."""
