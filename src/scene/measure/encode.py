"""The measuring protocol's part of an encode: what it adds to the defaults of a whole job, and what it counts.

Points are encoded by the code, the build and the defaults of a whole job. What a protocol needs beyond them are
ordinary `encoder_args`: one thread, since x264 and x265 give other bytes with other thread counts and a figure must not
depend on the machine (points run side by side instead), and a key frame every two seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from scene.errors import UsageError
from scene.video.encoders.params import check_encoder_args, parse_encoder_args
from scene.video.encoders.settings import CodecName, EncoderSettings

GOP_SECONDS = 2
_GOP = "{gop}"


@dataclass(frozen=True, slots=True)
class Codec:
    """How an encoder is measured unless a protocol says otherwise.

    Attributes:
        name: x264, x265, svtav1, vvenc.
        encoder: its name in FFmpeg.
        preset: the default one.
        crfs: the ladder; of quantisers with an encoder that has no CRF.
        limits: of the ladder; a lossless rung is none.
        encoder_args: the encoder's own parameters; `{gop}` stands for the key-frame interval in frames.
        quality: what the ladder is of, CRF or QP.
    """

    name: str
    encoder: str
    preset: str
    crfs: tuple[float, ...]
    limits: tuple[float, float]
    encoder_args: str
    quality: str = "CRF"


_LADDER = (18, 22, 26, 30, 34, 38, 42)
X264 = Codec("x264", "libx264", "medium", _LADDER, (0, 51), "threads=1:keyint={gop}")
X265 = Codec("x265", "libx265", "medium", _LADDER, (0, 51), "pools=1:frame-threads=1:keyint={gop}")
SVTAV1 = Codec("svtav1", "libsvtav1", "6", (20, 27, 34, 41, 48, 55, 63), (1, 63), "lp=1:keyint={gop}")
# Delimiters before every picture (7 bytes each) say nothing and are left out.
VVENC = Codec(
    *("vvenc", "libvvenc", "faster", (22, 27, 32, 37, 42, 47), (1, 63)),
    "threads=1:intraperiod={gop}:accessunitdelimiter=0",
    "QP",
)
CODECS = {codec.name: codec for codec in (X264, X265, SVTAV1, VVENC)}


@dataclass(frozen=True, slots=True)
class CodecRun:
    """A codec with the settings of one evaluation.

    Attributes:
        codec: which one.
        preset: given to the encoder as it is.
        crfs: one encode each, rising.
        encoder_args: as of `Codec`.
    """

    codec: Codec
    preset: str
    crfs: tuple[float, ...]
    encoder_args: str


def codec_run(
    name: str,
    *,
    preset: str | None = None,
    crfs: tuple[float, ...] | None = None,
    encoder_args: str | None = None,
) -> CodecRun:
    """A codec by name, with its defaults where nothing is given.

    Raises:
        UsageError: an unknown codec or preset, a CRF that it does not have, or malformed parameters.
    """
    codec = CODECS.get(name)
    if codec is None:
        raise UsageError(f"codec {name!r} is unknown; choose from {', '.join(CODECS)}.")
    if preset is not None:
        # Imported here: training needs PyAV only where a point is measured.
        from scene.video.encoders.codecs import CODECS as ENCODERS

        presets = ENCODERS[name].presets
        if preset not in presets:
            raise UsageError(f"{name} has no preset {preset!r}; choose {', '.join(presets)}.")
    ladder = tuple(sorted(set(codec.crfs if crfs is None else crfs)))
    low, high = codec.limits
    for crf in ladder:
        if not low <= crf <= high:
            raise UsageError(f"{codec.quality} {crf:g} is not in {name}'s range of {low:g} to {high:g}.")
        if codec.quality == "QP" and crf != int(crf):
            raise UsageError(f"{name} takes whole QPs, and {crf:g} is none.")
    if not ladder:
        raise UsageError("give at least one CRF.")
    run = CodecRun(codec, preset or codec.preset, ladder, codec.encoder_args if encoder_args is None else encoder_args)
    check_encoder_args(name, parse_encoder_args(encoder_settings(run, ladder[0], 1).encoder_args))
    return run


def key_frame_interval(rate: Fraction) -> int:
    """The most frames from one key frame to the next at so many frames per second."""
    return max(1, round(GOP_SECONDS * rate))


def encoder_settings(run: CodecRun, crf: float, gop: int, parameters: tuple[str, ...] = ()) -> EncoderSettings:
    """What one point is encoded with; a whole job with these settings gives the same stream.

    Args:
        gop: the key-frame interval in frames.
        parameters: further `key=value` settings of the encoder's own.
    """
    arguments = ":".join(filter(None, (run.encoder_args.replace(_GOP, str(gop)), *parameters)))
    return EncoderSettings(cast(CodecName, run.codec.name), crf, run.preset, arguments)


def settings_key(settings: EncoderSettings) -> dict[str, object]:
    """What a cache key says about an encode, beside the encoder's version."""
    return {
        "codec": settings.codec,
        "preset": settings.preset,
        "crf": f"{settings.crf:g}",
        "encoder_args": settings.encoder_args,
        # How the rate is counted: the elementary stream without supplemental messages.
        "rate": "without messages",
    }
