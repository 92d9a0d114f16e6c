"""Pictures in, enhanced pictures out: colour conversion around a network, and its conditioning. No files, no codecs."""

from scene.enhance.device import resolve_device
from scene.enhance.enhancer import Enhancer
from scene.enhance.open import open_enhancer
from scene.enhance.semantics import SemanticGuide, open_semantics

__all__ = ["Enhancer", "SemanticGuide", "open_enhancer", "open_semantics", "resolve_device"]
