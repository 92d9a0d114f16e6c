"""Differentiable codecs: tensors in, decoded tensors and bits out."""

from scene.proxy.jpeg import JpegProxy, ProxyOutput, quality_to_step
from scene.proxy.sequence import SequenceOutput, SequenceProxy, windows

__all__ = ["JpegProxy", "ProxyOutput", "SequenceOutput", "SequenceProxy", "quality_to_step", "windows"]
