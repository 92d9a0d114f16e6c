"""Frames to look at: the same picture from the source and from encodes at the same bitrate, side by side."""

from scene.evaluation.slides.make import make_slides
from scene.evaluation.slides.slide import Pane, Slide

__all__ = ["Pane", "Slide", "make_slides"]
