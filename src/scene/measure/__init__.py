"""Measuring: encode, decode, score; the clips, the cache and the room that it takes."""
