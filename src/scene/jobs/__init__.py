"""Long work as one call: request in, result out."""

from scene.jobs.encode import EncodeRequest, EncodeResult, encode_file
from scene.jobs.enhancing import BYPASS, DEFAULT_MODEL, Enhancement
from scene.jobs.filter import FilterRequest, FilterResult, filter_frames

__all__ = [
    "BYPASS",
    "DEFAULT_MODEL",
    "EncodeRequest",
    "EncodeResult",
    "Enhancement",
    "FilterRequest",
    "FilterResult",
    "encode_file",
    "filter_frames",
]
