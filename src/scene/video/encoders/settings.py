"""What can be set of an encoder. The command line shows each field's line as its help; this loads no PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scene.video.encoders import DEFAULT_ENCODER, ENCODERS

# The command line offers the names that are registered; to a type checker they are strings.
if TYPE_CHECKING:
    CodecName = str
    TrialCodecName = str
    QuantiserCodecName = str
else:
    CodecName = Literal[tuple(ENCODERS)]
    # Those that a search can try, and those whose quantiser a network can be conditioned on.
    TrialCodecName = Literal[tuple(name for name, encoder in ENCODERS.items() if encoder.has_trials)]
    QuantiserCodecName = Literal[tuple(name for name, encoder in ENCODERS.items() if not encoder.is_hardware)]


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What to encode with."""

    codec: CodecName = DEFAULT_ENCODER
    """Encoder."""

    crf: float | None = None
    """Constant rate factor, lower is better. By default 23 for x264, 28 for x265, 35 for svtav1. With vvenc a QP, by
    default 32. With NVENC its constant quality, by default the same for H.264, HEVC and AV1."""

    preset: str | None = None
    """Speed preset of the encoder. By default medium, with svtav1 6, with vvenc faster, with NVENC p4."""

    encoder_args: str = ""
    """The encoder's own parameters, as key=value:key=value; a colon in a value needs a backslash before it."""

    bitrate: int | None = None
    """Mean bitrate of the video stream in kbit/s, instead of a constant rate factor."""

    passes: int | None = None
    """Passes over the source for a bitrate: 1, or 2, which is what x264 and x265 make by default."""
