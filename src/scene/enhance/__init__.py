"""Pictures in, enhanced pictures out: colour conversion around a network, and its conditioning. No files, no codecs."""

from scene.enhance.device import resolve_device
from scene.enhance.enhancer import Enhancer
from scene.enhance.open import open_enhancer
from scene.enhance.semantics import open_conditioner

__all__ = ["Enhancer", "open_conditioner", "open_enhancer", "resolve_device"]
