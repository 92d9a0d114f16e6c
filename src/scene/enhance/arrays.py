"""R'G'B' arrays and tensors through a function on pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from scene.errors import UsageError
from scene.picture import Picture, PictureFormat, Plane

# Pictures in, as many pictures of the same format out.
Stream = Callable[[Iterable[Picture]], Iterator[Picture]]
# Of red, green and blue those that lie in a picture's three planes.
_GBR = (1, 2, 0)
_RGB = (2, 0, 1)
_LARGEST = 65535


def stream_array(stream: Stream, frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """R'G'B' (N, H, W, 3), uint8, uint16 or floats in [0, 1], through `stream`; shape and dtype stay.

    Floats are shown as 16-bit codes, and what changes in these is added to them.

    Raises:
        UsageError: another shape or dtype, or values that are not finite.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape[1:3]:
        raise UsageError(f"`frames` of shape {frames.shape} are no batch of RGB pictures; give (N, H, W, 3).")
    if frames.dtype in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        return _stream_codes(stream, frames)
    if not np.issubdtype(frames.dtype, np.floating):
        raise UsageError(f"`frames` of {frames.dtype} are not supported; give uint8, uint16 or floats in [0, 1].")
    if not np.isfinite(frames).all():
        raise UsageError("`frames` hold values that are not finite; give floats in [0, 1].")
    before = (np.clip(frames, 0, 1) * np.float64(_LARGEST)).round().astype(np.uint16)
    change = _stream_codes(stream, before).astype(np.int32) - before
    result: npt.NDArray[Any] = (frames + change / np.float64(_LARGEST)).clip(0, 1).astype(frames.dtype)
    return result


def stream_tensor(stream: Stream, frames: torch.Tensor) -> torch.Tensor:
    """R'G'B' (N, 3, H, W) or (N, H, W, 3), uint8 or floats in [0, 1], as in `stream_array`; gradients are not kept.

    Shape, dtype and device stay. Where both layouts fit, channels come first.

    Raises:
        UsageError: another shape or dtype, or values that are not finite.
    """
    first = frames.ndim == 4 and frames.shape[1] == 3
    if not first and (frames.ndim != 4 or frames.shape[-1] != 3):
        shape = tuple(frames.shape)
        raise UsageError(f"`frames` of shape {shape} are no batch of RGB pictures; give (N, 3, H, W) or (N, H, W, 3).")
    if not frames.is_floating_point() and frames.dtype != torch.uint8:
        raise UsageError(f"`frames` of {frames.dtype} are not supported; give a tensor of uint8 or floats in [0, 1].")
    # NumPy has no bfloat16.
    wide = frames.dtype if frames.dtype in {torch.uint8, torch.float64} else torch.float32
    given = frames.detach().to("cpu", wide)
    made = torch.from_numpy(stream_array(stream, (given.movedim(1, -1) if first else given).numpy()))
    return (made.movedim(-1, 1) if first else made).to(frames.device, frames.dtype).contiguous()


def _stream_codes(stream: Stream, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    fmt = PictureFormat(codes.shape[2], codes.shape[1], 8 * codes.itemsize, "444", full_range=True, matrix="rgb")
    pictures = (
        Picture(fmt, tuple(cast(Plane, np.ascontiguousarray(frame[..., index])) for index in _GBR)) for frame in codes
    )
    result = np.empty_like(codes)
    for index, picture in enumerate(stream(pictures)):
        for channel, plane in enumerate(_RGB):
            result[index, ..., channel] = picture.planes[plane]
    return result
