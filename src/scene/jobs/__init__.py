"""Long work as one call: request in, result out."""

from scene.jobs.encode import BYPASS, DEFAULT_MODEL, EncodeRequest, EncodeResult, encode_file

__all__ = ["BYPASS", "DEFAULT_MODEL", "EncodeRequest", "EncodeResult", "encode_file"]
