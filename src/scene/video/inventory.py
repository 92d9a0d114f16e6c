"""What this machine's PyAV and its ffmpeg program can do, found out by trying."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from scene.errors import MissingError
from scene.video.encode import CODECS, Codec, require_gpu_encoder
from scene.video.encoder_report import tiny_encode
from scene.video.ffmpeg import FFmpeg, ProcessError

_SIDE = 128
# As x264 and x265 sign their streams; the others do not.
_VERSION = re.compile(rb"x264 - core (\d+)|x265 \(build \d+\) - ([^:\s]+)")
_PROGRAMS_ENCODERS = ("libx264", "libx265", "libsvtav1", "libvvenc")


@dataclass(frozen=True, slots=True)
class EncoderTrial:
    """What came of encoding one picture.

    Attributes:
        version: the encoder's own, None where it does not say.
        failure: why it does not work, None where it does.
    """

    codec: str
    version: str | None = None
    failure: str | None = None


def pyav_versions() -> dict[str, str]:
    """Versions of PyAV and of the FFmpeg libraries in it."""
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return {"PyAV": av.__version__, **libraries}


def try_encoders() -> list[EncoderTrial]:
    """Encodes one picture with every encoder that `scene encode` has."""
    return [_try(codec) for codec in CODECS.values()]


def program_encoders(ffmpeg: FFmpeg) -> list[str]:
    """Which of the encoders that measuring uses the ffmpeg program has; none where it cannot be asked."""
    try:
        listing = ffmpeg.run(["-encoders"]).stdout.decode("utf-8", "replace")
    except ProcessError:
        return []
    words = {word for line in listing.splitlines() for word in line.split()[1:2]}
    return [name for name in _PROGRAMS_ENCODERS if name in words]


def _try(codec: Codec) -> EncoderTrial:
    if codec.encoder not in av.codecs_available:
        return EncoderTrial(codec.name, failure=f"this PyAV has no {codec.encoder}")
    try:
        if codec.is_nvenc:
            require_gpu_encoder(codec)
            return EncoderTrial(codec.name)
        context = cast(VideoCodecContext, av.CodecContext.create(codec.encoder, "w"))
        context.width = context.height = _SIDE
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
        if codec.name == "x265":
            context.options = {"x265-params": "log-level=none"}
        context.open()
        match = _VERSION.search(tiny_encode(context))
    except MissingError as error:
        return EncoderTrial(codec.name, failure=str(error))
    except (av.FFmpegError, ValueError) as error:
        return EncoderTrial(codec.name, failure=str(error))
    version = next(part for part in match.groups() if part).decode("ascii", "replace") if match else None
    return EncoderTrial(codec.name, version)
