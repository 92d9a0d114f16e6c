"""Which parameter of `encoder_args` an encoder means when it refuses, and which it takes as another in silence."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
from av.video.codeccontext import VideoCodecContext

from scene.video.av_log import ffmpeg_log
from scene.video.encoders.params import QUIET, join_encoder_args, joined_items, parse_encoder_args, split_by_taker
from scene.video.encoders.report import altered, nearest, reported_settings, tiny_encode

if TYPE_CHECKING:
    from scene.video.encoders.codecs import Codec
from scene.video.encoders.settings import EncoderSettings

log = logging.getLogger(__name__)

_TRIAL_SIZE = 64


def check_taken(codec: Codec, settings: EncoderSettings) -> None:
    """Logs a warning for each number of `encoder_args` of which x264 makes another in silence, as it does with many.

    To be called after an encoder has been opened with these settings, since it tells no mistakes.
    """
    items = parse_encoder_args(settings.encoder_args)
    if codec.name != "x264" or not items:
        return
    own, items = split_by_taker(codec.name, items)
    options = {"preset": settings.preset or codec.default_preset, **own, "x264-params": join_encoder_args(items)}
    for name, asked, taken in altered(items, _settings_reported(codec, options)):
        log.warning("x264 takes %s=%s of `encoder_args` as %s.", name, asked, taken)


def refusal(context: VideoCodecContext, codec: Codec, options: Mapping[str, str], failure: str) -> str:
    """The sentence for an encoder that does not open, with the parameter that is to blame where one is."""
    said = failure.strip().rstrip(".")
    guilty = _guilty(context, codec, options)
    if guilty:
        # SVT-AV1 and x265 give their reasons to stderr only.
        because = "" if "bad parameter" in said or "Invalid data" in said or "setting option" in said else f": {said}"
        return f"{codec.name} refuses {guilty} of `encoder_args`{because}."
    return f"{codec.name} refuses {context.width}x{context.height} {context.pix_fmt} with these settings: {said}."


def _guilty(context: VideoCodecContext, codec: Codec, options: Mapping[str, str]) -> str | None:
    """The parameter with which alone the encoder does not open, though it does without."""
    key = codec.params_option
    if key is None:
        return None
    own = {name: value for name, value in options.items() if name == "profile"}
    items = [*joined_items(options.get(key, "")), *own.items()]

    def opens(chosen: list[tuple[str, str]]) -> bool:
        trial = cast(VideoCodecContext, av.CodecContext.create(context.name, "w"))
        trial.width, trial.height, trial.pix_fmt = context.width, context.height, context.pix_fmt
        trial.time_base, trial.framerate = context.time_base, context.framerate
        given, rest = split_by_taker(codec.name, chosen)
        trial.options = {**plain, **given, key: join_encoder_args([*quiet, *rest])}
        with ffmpeg_log():
            try:
                trial.open()
            except (av.FFmpegError, ValueError):
                return False
        return True

    plain = {name: value for name, value in options.items() if name not in own}
    # What SCENE itself adds for one of two passes belongs to every trial.
    ours = [item for item in items if item[0] in {"pass", "stats"}]
    items = [item for item in items if item not in ours]
    quiet = [*joined_items(QUIET[codec.name]), *ours]
    if not opens([]):
        return None
    return next((f"{name}={value}" for name, value in items if not opens([(name, value)])), None)


def hint(codec: Codec, said: str) -> str:
    """The known name that is meant, perhaps; where the encoder tells its names, and does not know what was said."""
    name = re.split(r"[ =:]", said)[0]
    if codec.name not in {"x264", "x265"}:
        return ""
    known = _settings_reported(codec, {} if codec.name == "x264" else {"x265-params": QUIET["x265"]})
    near = nearest(name, known)
    return f" (is {near} meant?)" if near and near != name.replace("_", "-") else ""


def _settings_reported(codec: Codec, options: dict[str, str]) -> dict[str, str]:
    context = cast(VideoCodecContext, av.CodecContext.create(codec.encoder, "w"))
    context.width = context.height = _TRIAL_SIZE
    context.pix_fmt, context.time_base, context.options = "yuv420p", Fraction(1, 25), options
    with ffmpeg_log():
        try:
            context.open()
            return reported_settings(tiny_encode(context))
        except (av.FFmpegError, ValueError):
            return {}
