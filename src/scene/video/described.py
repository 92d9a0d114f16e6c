"""What FFmpeg prints about the streams of a file: the only way to what PyAV does not show otherwise."""

from __future__ import annotations

import re
from typing import Any, cast

import av.logging
from av.container import InputContainer

from scene.video.av_log import ffmpeg_log


def described_streams(container: InputContainer) -> dict[int, str]:
    """The lines about each stream, by its number."""
    with ffmpeg_log(av.logging.INFO):
        words = cast(Any, container).dumps_format()
    parts = re.split(r"^  Stream #0:(\d+)", words, flags=re.MULTILINE)
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}
