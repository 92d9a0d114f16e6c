"""The measuring protocol's part of an encode: what it adds to the defaults of a whole job, and what it counts.

Points are encoded by the code, the build and the defaults of a whole job. What a protocol needs beyond them are
ordinary `encoder_args`: one thread, since x264 and x265 give other bytes with other thread counts and a figure must not
depend on the machine (points run side by side instead), and a key frame every two seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from scene.errors import UsageError
from scene.video.encoders import ENCODERS
from scene.video.encoders.base import Encoder
from scene.video.encoders.params import parse_encoder_args
from scene.video.encoders.settings import EncoderSettings

GOP_SECONDS = 2
_GOP = "{gop}"
PRESET = "preset"


@dataclass(frozen=True, slots=True)
class CodecRun:
    """A codec with the settings of one evaluation.

    Attributes:
        codec: which one.
        preset: given to the encoder as it is.
        crfs: one encode each, rising.
        encoder_args: the encoder's own parameters; `{gop}` stands for the key-frame interval in frames.
    """

    codec: Encoder
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
    encoder = ENCODERS.get(name)
    if encoder is None or not encoder.measured_crfs:
        measured = [other.name for other in ENCODERS.values() if other.measured_crfs]
        raise UsageError(f"codec {name!r} is unknown; choose from {', '.join(measured)}.")
    if preset is not None and preset not in encoder.presets:
        raise UsageError(f"{name} has no preset {preset!r}; choose {', '.join(encoder.presets)}.")
    ladder = tuple(sorted(set(encoder.measured_crfs if crfs is None else crfs)))
    low, high = encoder.measured_from, encoder.max_crf
    for crf in ladder:
        if not low <= crf <= high:
            raise UsageError(f"{encoder.quality_name} {crf:g} is not in {name}'s range of {low:g} to {high:g}.")
        encoder.check_crf(crf, preset or encoder.default_preset)
    if not ladder:
        raise UsageError("give at least one CRF.")
    arguments = encoder.measuring_args if encoder_args is None else encoder_args
    run = CodecRun(encoder, preset or encoder.default_preset, ladder, arguments)
    encoder.check_args(parse_encoder_args(encoder_settings(run, ladder[0], 1).encoder_args))
    return run


def key_frame_interval(rate: Fraction) -> int:
    """The most frames from one key frame to the next at so many frames per second."""
    return max(1, round(GOP_SECONDS * rate))


def encoder_settings(run: CodecRun, crf: float, gop: int, parameters: tuple[str, ...] = ()) -> EncoderSettings:
    """What one point is encoded with; a whole job with these settings gives the same stream.

    Args:
        gop: the key-frame interval in frames.
        parameters: further `key=value` settings of the encoder's own; `preset` takes the place of the run's.
    """
    preset = run.preset
    arguments = [run.encoder_args.replace(_GOP, str(gop))]
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == PRESET:
            preset = value
        else:
            arguments.append(parameter)
    return EncoderSettings(run.codec.name, crf, preset, ":".join(filter(None, arguments)))


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
