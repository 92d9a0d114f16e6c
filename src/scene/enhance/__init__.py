"""Pictures in, enhanced pictures out: colour conversion around a network, and what steers it. No files, no codecs."""

from scene.enhance.cadence import DEFAULT_INTERVAL
from scene.enhance.device import resolve_device
from scene.enhance.enhancer import Enhancer
from scene.enhance.semantics import SemanticGuide, open_semantics

__all__ = ["DEFAULT_INTERVAL", "Enhancer", "SemanticGuide", "open_semantics", "resolve_device"]
