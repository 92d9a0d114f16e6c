"""SCENE: a light network that runs before a standard video encoder (see README.md)."""

__version__ = "0.1.0"
