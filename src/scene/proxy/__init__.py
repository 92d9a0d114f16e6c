"""Differentiable codecs: tensors in, decoded tensors and bits out."""

from scene.proxy.jpeg import JpegProxy, ProxyOutput, quality_to_step

__all__ = ["JpegProxy", "ProxyOutput", "quality_to_step"]
