"""Checks of a finished file, made before it gets its name."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from scene.errors import InputError, VerificationError
from scene.video.opening import open_input, reason
from scene.video.probe import best_video

# Frames decoded at the start.
_HEAD = 3


def verify(path: Path, name: Path, stamps: Sequence[int], time_base: Fraction) -> None:
    """Reads a written file again: all frames, each at its time, the first and the last ones decodable.

    Args:
        path: the file to read.
        name: what to call it in errors.
        stamps: the presentation times of the encoded frames, increasing, in units of `time_base` seconds.

    Raises:
        VerificationError: the file does not hold what was put into it.
    """
    try:
        with open_input(path) as container:
            stream = best_video(container, name)
            _check_stamps(container, stream, name, stamps, time_base)
        with open_input(path) as container:
            _check_ends(container, best_video(container, name), name, len(stamps))
    except InputError as error:
        raise VerificationError(f"{name}: the written file cannot be read back ({error}).") from None
    except av.FFmpegError as error:
        raise VerificationError(f"{name}: the written file cannot be read back ({reason(error)}).") from None


def _check_stamps(
    container: InputContainer, stream: VideoStream, name: Path, stamps: Sequence[int], time_base: Fraction
) -> None:
    found = sorted(p.pts for p in container.demux(stream) if p.size and p.pts is not None)
    if len(found) != len(stamps):
        raise VerificationError(f"{name}: {len(found)} of {len(stamps)} frames were written.")
    assert stream.time_base is not None
    clock = Fraction(stream.time_base)
    for index, (written, meant) in enumerate(zip(found, stamps, strict=True)):
        # Times that the container's clock cannot express are rounded to its nearest tick.
        if abs(written * clock - meant * time_base) > clock:
            raise VerificationError(
                f"{name}: frame {index} was written at {float(written * clock):.4f} s "
                f"instead of {float(meant * time_base):.4f} s."
            )


def _check_ends(container: InputContainer, stream: VideoStream, name: Path, frames: int) -> None:
    if sum(1 for _ in islice(container.decode(stream), _HEAD)) < min(_HEAD, frames):
        raise VerificationError(f"{name}: its first frames cannot be decoded.")
    assert stream.time_base is not None
    last = 0
    if stream.duration:
        last = (stream.start_time or 0) + stream.duration
    elif container.duration:
        last = int(Fraction(container.duration, av.time_base) / stream.time_base)
    container.seek(last, stream=stream, backward=True)
    if not sum(1 for _ in container.decode(stream)):
        raise VerificationError(f"{name}: its last frames cannot be decoded.")
