"""Frames to look at: the same picture from the source and from encodes at the same bitrate, side by side."""

from scene.evaluation.visuals.build import make_slides
from scene.evaluation.visuals.view import Pane, Slide

__all__ = ["Pane", "Slide", "make_slides"]
