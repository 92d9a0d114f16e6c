"""The encoders: their names, ranges and defaults, and which settings can be meant."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
from av.video.codeccontext import VideoCodecContext

from scene.errors import MissingError, UsageError
from scene.video.av_log import ffmpeg_log
from scene.video.encoders.params import check_encoder_args, parse_encoder_args
from scene.video.encoders.settings import CodecName, EncoderSettings
from scene.video.ffmpeg import find_encoding_ffmpeg
from scene.video.source.open import reason

_X26X_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)

# Which write statistics in a first pass and read them in a second.
_TWO_PASSES = ("x264", "x265")

# From this preset on SVT-AV1 4.1 makes noise of busy pictures at CRFs below 2.5.
_FAST_SVTAV1, _LEAST_FAST_CRF = 11, 3

# Above the least that NVENC takes.
_LEAST_NVENC_SIDE = 256

_VVENC_PRESETS = ("faster", "fast", "medium", "slow", "slower")

_NVENC_PRESETS = tuple(f"p{n}" for n in range(1, 8))


@dataclass(frozen=True, slots=True)
class Codec:
    """One encoder.

    Attributes:
        encoder: its name in FFmpeg.
        default_crf, min_crf, max_crf: of the constant rate factor; of NVENC's constant quality (cq), of VVenC's QP.
        params_option: FFmpeg's option for the encoder's own parameters; None where they are options themselves.
        subsamples_need_even: whether a subsampled direction must have an even size.
    """

    name: CodecName
    encoder: str
    default_crf: float
    max_crf: float
    default_preset: str
    presets: tuple[str, ...]
    params_option: str | None
    subsamples_need_even: bool
    min_crf: float = 0

    @property
    def is_nvenc(self) -> bool:
        """Whether the encoder is a GPU's."""
        return self.name.startswith("nvenc-")

    @property
    def is_external(self) -> bool:
        """Whether the encoder is the ffmpeg program's, and not in this process."""
        return self.name == "vvenc"

    @property
    def has_trials(self) -> bool:
        """Whether some pictures can be encoded before the video, for a guard, a search or a first pass."""
        return not self.is_nvenc and not self.is_external

    @property
    def has_statistics(self) -> bool:
        """Whether a second pass can be told what a first one found."""
        return self.name in _TWO_PASSES


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("x264", "libx264", 23, 51, "medium", _X26X_PRESETS, "x264-params", True),
        Codec("x265", "libx265", 28, 51, "medium", _X26X_PRESETS, "x265-params", True),
        Codec("svtav1", "libsvtav1", 35, 63, "6", tuple(str(n) for n in range(-1, 14)), "svtav1-params", False),
        Codec("vvenc", "libvvenc", 32, 63, "faster", _VVENC_PRESETS, "vvenc-params", True),
        Codec("nvenc-h264", "h264_nvenc", 23, 51, "p4", _NVENC_PRESETS, None, True, 1),
        Codec("nvenc-hevc", "hevc_nvenc", 28, 51, "p4", _NVENC_PRESETS, None, True, 1),
        Codec("nvenc-av1", "av1_nvenc", 35, 63, "p4", _NVENC_PRESETS, None, True, 1),
    )
}


@dataclass(frozen=True, slots=True)
class StatisticsPass:
    """One of two passes: the first writes the encoder's statistics file, the second reads it."""

    number: Literal[1, 2]
    statistics: Path


def check_settings(settings: EncoderSettings) -> Codec:
    """The codec behind settings that can be meant.

    Raises:
        UsageError: an unknown codec or preset, a CRF out of range, malformed arguments.
        MissingError: this PyAV was built without the encoder, or there is no ffmpeg program that has it.
    """
    codec = CODECS.get(settings.codec)
    if codec is None:
        raise UsageError(f"codec {settings.codec!r} is unknown; choose {', '.join(CODECS)}.")
    if settings.crf is not None and not codec.min_crf <= settings.crf <= codec.max_crf:
        scale = f"{codec.min_crf:g} to {codec.max_crf:g}"
        raise UsageError(f"`crf` {settings.crf:g} is out of range; {codec.name} takes {scale}.")
    if settings.preset is not None and settings.preset not in codec.presets:
        raise UsageError(f"{codec.name} has no preset {settings.preset!r}; choose {', '.join(codec.presets)}.")
    if codec.name == "svtav1" and settings.crf is not None:
        _check_svtav1_crf(settings.crf, settings.preset or codec.default_preset)
    if codec.is_external and settings.crf is not None and settings.crf != int(settings.crf):
        raise UsageError(f"`crf` {settings.crf:g} is none of {codec.name}'s QPs, which are whole numbers.")
    items = parse_encoder_args(settings.encoder_args)
    check_encoder_args(codec.name, items)
    _check_rate_control(codec, settings, {name for name, _ in items})
    if codec.is_external:
        find_encoding_ffmpeg(codec.encoder)
    elif codec.encoder not in av.codecs_available:
        raise MissingError(f"this build of PyAV has no {codec.encoder}; install PyAV from its wheels.")
    if codec.is_nvenc:
        require_gpu_encoder(codec)
    return codec


def _check_svtav1_crf(crf: float, preset: str) -> None:
    if crf % 0.25:
        raise UsageError(f"`crf` {crf:g} is between two that svtav1 has; give a multiple of 0.25.")
    if crf < _LEAST_FAST_CRF and int(preset) >= _FAST_SVTAV1:
        raise UsageError(
            f"svtav1 breaks pictures at `crf` {crf:g} with preset {preset}; give a CRF from {_LEAST_FAST_CRF}, or a "
            f"preset below {_FAST_SVTAV1}."
        )


def _check_rate_control(codec: Codec, settings: EncoderSettings, names: set[str]) -> None:
    if settings.bitrate is None:
        if settings.passes is not None:
            raise UsageError("`passes` belongs to `bitrate`; give a bitrate, or leave `passes` out.")
        return
    if settings.crf is not None:
        raise UsageError("`crf` and `bitrate` exclude each other; give one of them.")
    if settings.bitrate < 1:
        raise UsageError(f"`bitrate` {settings.bitrate} makes no sense; give kbit/s, such as 2500.")
    if settings.passes not in {None, 1, 2}:
        raise UsageError(f"`passes` {settings.passes} makes no sense; give 1 or 2.")
    fixed = sorted(names & {"qp", "lossless"})
    if fixed:
        raise UsageError(f"`encoder_args` {fixed[0]} fixes the quantiser, `bitrate` the rate; leave one of them out.")
    if settings.passes == 2 and not codec.has_trials:
        raise UsageError(f"{codec.name} makes one pass; leave `passes` out.")


def require_gpu_encoder(codec: Codec) -> None:
    """Raises MissingError unless an NVIDIA GPU and its driver open this encoder."""
    context = cast(VideoCodecContext, av.CodecContext.create(codec.encoder, "w"))
    context.width = context.height = _LEAST_NVENC_SIDE
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
    failure: Exception | None = None
    with ffmpeg_log() as lines:
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            failure = error
    if failure is not None:
        said = next(iter(lines), reason(failure)).strip().rstrip(".")
        raise MissingError(
            f"{codec.name} needs an NVIDIA GPU with an encoder for it, and its driver ({said}); use x264, x265 or "
            "svtav1."
        )
