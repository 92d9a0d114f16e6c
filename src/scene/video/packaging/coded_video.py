"""What the packets of a coded video say: where its key frames are, how long it lasts, how many bytes it has."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from scene.errors import InputError
from scene.video.source.open import open_input, reason
from scene.video.source.probe import best_video


@dataclass(frozen=True, slots=True)
class CodedVideo:
    """A video as it is coded.

    Attributes:
        key_frames: when each is shown, in seconds.
        seconds: that it lasts.
        bytes: of all packets.
    """

    key_frames: tuple[Fraction, ...]
    seconds: Fraction
    bytes: int

    @property
    def kbps(self) -> float:
        """Mean rate in kbit/s."""
        return self.bytes * 8 / 1000 / float(self.seconds)


def read_coded_video(path: Path) -> CodedVideo:
    """Reads the packets of a file's video, without decoding. Raises InputError where it cannot be read or is empty."""
    keys: list[Fraction] = []
    first = last = None
    size = 0
    try:
        with open_input(path) as container:
            stream = best_video(container, path)
            for packet in container.demux(stream):
                if not packet.size or packet.pts is None:
                    continue
                shown = packet.pts * packet.time_base
                end = shown + (packet.duration or 0) * packet.time_base
                size += packet.size
                first = shown if first is None else min(first, shown)
                last = end if last is None else max(last, end)
                if packet.is_keyframe:
                    keys.append(shown)
    except av.FFmpegError as error:
        raise InputError(f"{path} cannot be read to its end ({reason(error)}).") from None
    if first is None or last is None or last <= first:
        raise InputError(f"{path} holds no video.")
    return CodedVideo(tuple(sorted(keys)), last - first, size)
