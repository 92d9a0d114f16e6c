"""Maps of importance to look at, and as videos that other commands take."""
