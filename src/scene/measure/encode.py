"""The encoders that are measured, and the ffmpeg arguments that run them.

Each encodes on one thread: x264 and x265 give other bytes with other thread counts, and a figure must not
depend on the machine. Points run side by side instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scene.errors import MissingError, UsageError
from scene.video.ffmpeg import FFmpeg, ProcessError


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoder as ffmpeg knows it.

    Attributes:
        name: ours: x264, x265, svtav1, vvenc.
        encoder: ffmpeg's name.
        suffix: of the elementary stream's file, from which ffmpeg takes the muxer.
        preset: the default one.
        crfs: the default ladder; of quantisers where that is what `quality_option` sets.
        options: encoder options that are always given; `{gop}` stands for the key-frame interval, `{parameters}`
            for what a method adds to the encoder's own list.
        version_pattern: how the encoder names its version, in its stream or in its log.
        qualities: the range that CRF may have.
        quality_option: ffmpeg's option that a rung of the ladder is given to.
    """

    name: str
    encoder: str
    suffix: str
    preset: str
    crfs: tuple[float, ...]
    options: tuple[str, ...]
    version_pattern: bytes
    qualities: tuple[float, float]
    quality_option: str = "-crf"


# x264 and x265 write their settings into the stream's first message (0.7 and 2.4 kB). On clips of a second or
# two that would count as rate, up to 5 % of it, so these messages (SEI) are taken out.
X264 = Codec(
    "x264",
    "libx264",
    ".h264",
    "medium",
    (18, 22, 26, 30, 34, 38, 42),
    ("-g", "{gop}", "-threads", "1", "-bsf:v", "filter_units=remove_types=6"),
    rb"x264 - core (\d+(?: r\d+)?)",
    (0, 51),
)
X265 = Codec(
    "x265",
    "libx265",
    ".hevc",
    "medium",
    (18, 22, 26, 30, 34, 38, 42),
    (
        *("-g", "{gop}", "-x265-params", "keyint={gop}:pools=1:frame-threads=1:log-level=error{parameters}"),
        *("-bsf:v", "filter_units=remove_types=39"),
    ),
    rb"x265 \(build \d+\) - ([^:\s]+)",
    (0, 51),
)
SVTAV1 = Codec(
    "svtav1",
    "libsvtav1",
    ".obu",
    "6",
    (20, 27, 34, 41, 48, 55, 63),
    ("-g", "{gop}", "-svtav1-params", "tune=1:lp=1{parameters}"),
    rb"SVT-AV1 Encoder Lib (v\S+)",
    (1, 63),
)
# VVenC has no CRF through ffmpeg: its ladder is of QPs, with its own perceptual adaptation on, as by default. It codes
# 10 bit only. Delimiters before every picture (7 bytes each) say nothing and are left out.
VVENC = Codec(
    "vvenc",
    "libvvenc",
    ".266",
    "faster",
    (22, 27, 32, 37, 42, 47),
    (
        *("-threads", "1", "-pix_fmt", "yuv420p10le"),
        *("-vvenc-params", "intraperiod={gop}:accessunitdelimiter=0{parameters}"),
    ),
    rb"libvvenc version: (\S+)",
    (1, 63),
    "-qp",
)
CODECS = {codec.name: codec for codec in (X264, X265, SVTAV1, VVENC)}
GOP_SECONDS = 2


@dataclass(frozen=True, slots=True)
class CodecRun:
    """A codec with the settings of one evaluation.

    Attributes:
        codec: which one.
        preset: given to the encoder as it is.
        crfs: one encode each, rising.
    """

    codec: Codec
    preset: str
    crfs: tuple[float, ...]


def codec_run(name: str, *, preset: str | None = None, crfs: tuple[float, ...] | None = None) -> CodecRun:
    """A codec by name, with its defaults where nothing is given.

    Raises:
        UsageError: an unknown codec, or a CRF that it does not have.
    """
    codec = CODECS.get(name)
    if codec is None:
        raise UsageError(f"codec {name!r} is unknown; choose from {', '.join(CODECS)}.")
    ladder = tuple(sorted(set(codec.crfs if crfs is None else crfs)))
    low, high = codec.qualities
    quality = codec.quality_option.lstrip("-").upper()
    for crf in ladder:
        if not low <= crf <= high:
            raise UsageError(f"{quality} {crf:g} is not in {name}'s range of {low:g} to {high:g}.")
        # Of svtav1's FFmpeg rounds fractions in silence.
        if codec in (SVTAV1, VVENC) and crf != int(crf):
            raise UsageError(f"{name} takes whole {quality}s here, and {crf:g} is none.")
    if not ladder:
        raise UsageError("give at least one CRF.")
    return CodecRun(codec, preset or codec.preset, ladder)


def encoder_options(run: CodecRun, crf: float, gop: int, parameters: tuple[str, ...] = ()) -> list[str]:
    """The encoder's part of ffmpeg's arguments; it is also what a cache key says about the encoder.

    Args:
        parameters: `key=value` settings of the encoder's own, for codecs that have such a list (`{parameters}`).
    """
    extra = "".join(f":{parameter}" for parameter in parameters)
    fixed = [option.format(gop=gop, parameters=extra) for option in run.codec.options]
    return ["-c:v", run.codec.encoder, "-preset", run.preset, run.codec.quality_option, f"{crf:g}", *fixed]


def encode_arguments(source: Path, destination: Path, options: list[str]) -> list[str]:
    """ffmpeg's arguments to encode a YUV4MPEG2 file to an elementary stream, every frame once."""
    return [
        *("-threads", "1", "-i", f"file:{source}", "-map", "0:v:0", "-fps_mode", "passthrough"),
        *(*options, f"file:{destination}"),
    ]


def encoder_version(ffmpeg: FFmpeg, codec: Codec, folder: Path) -> str:
    """The version that the encoder inside this ffmpeg says it is, from one tiny encode in `folder`.

    Raises:
        MissingError: this ffmpeg cannot encode with it.
    """
    trial = folder / f"version{codec.suffix}"
    arguments = [
        # VVenC says its version nowhere but in ffmpeg's verbose log.
        *("-v", "verbose", "-f", "lavfi", "-i", "color=size=128x128:rate=25:duration=0.04", "-pix_fmt", "yuv420p"),
        *("-c:v", codec.encoder, f"file:{trial}"),
    ]
    try:
        conditioned = ffmpeg.run(arguments).messages
        written = trial.read_bytes()
    except (ProcessError, OSError) as error:
        raise MissingError(f"{ffmpeg.path} cannot encode with {codec.encoder} ({error})") from error
    match = re.search(codec.version_pattern, written) or re.search(codec.version_pattern, conditioned.encode())
    return match[1].decode("ascii", "replace") if match else "unknown"
