"""Frames to look at: the same picture from the source and from encodes at the same bitrate, side by side."""
