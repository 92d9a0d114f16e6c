"""Pictures in, enhanced pictures out: colour conversion around a network, and what steers it. No files, no codecs."""

from scene.enhance.cadence import DEFAULT_INTERVAL
from scene.enhance.device import resolve_device
from scene.enhance.enhancer import Enhancer
from scene.enhance.semantics import open_conditioner

__all__ = ["DEFAULT_INTERVAL", "Enhancer", "open_conditioner", "resolve_device"]
