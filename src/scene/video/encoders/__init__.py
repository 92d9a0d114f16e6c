"""The encoders: what each is, can do and refuses. A new one is a file here and a line in `ENCODERS`."""

from __future__ import annotations

from scene.errors import UsageError
from scene.video.encoders.base import Encoder
from scene.video.encoders.nvenc import NvencAv1, NvencH264, NvencHevc
from scene.video.encoders.svtav1 import SvtAv1
from scene.video.encoders.vvenc import Vvenc
from scene.video.encoders.x264 import X264
from scene.video.encoders.x265 import X265

DEFAULT_ENCODER = X264.name

ENCODERS: dict[str, Encoder] = {
    encoder.name: encoder for encoder in (X264(), X265(), SvtAv1(), Vvenc(), NvencH264(), NvencHevc(), NvencAv1())
}


def find_encoder(name: str) -> Encoder:
    """The encoder of a name.

    Raises:
        UsageError: there is none.
    """
    encoder = ENCODERS.get(name)
    if encoder is None:
        raise UsageError(f"codec {name!r} is unknown; choose {', '.join(ENCODERS)}.")
    return encoder


def name_of(alias: str) -> str:
    """The name of the encoder that users of other programs call so; what is no encoder's stays as it is."""
    word = alias.lower()
    return next((e.name for e in ENCODERS.values() if word in (e.name, e.ffmpeg_name, *e.aliases)), alias)


def trial_encoders() -> str:
    """The names of those that can encode some pictures before the video, in words."""
    *names, last = (name for name, encoder in ENCODERS.items() if encoder.has_trials)
    return f"{', '.join(names)} or {last}"
