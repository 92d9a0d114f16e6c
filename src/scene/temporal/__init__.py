"""What pictures have to do with those before and after them: shots, motion, and a filter along it."""

from scene.temporal.filter import TemporalFilter

__all__ = ["TemporalFilter"]
