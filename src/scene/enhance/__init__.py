"""Pictures in, enhanced pictures out: colour conversion around a network. No files, no codecs."""

from scene.enhance.enhancer import Enhancer, resolve_device

__all__ = ["Enhancer", "resolve_device"]
