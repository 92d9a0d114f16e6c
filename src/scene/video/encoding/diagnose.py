"""Which parameter an encoder refuses, which it takes as another in silence, and whether it works here: by trying."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from scene.errors import MissingError
from scene.video.av_log import ffmpeg_log
from scene.video.encoders import trial_encoders
from scene.video.encoders.base import Encoder
from scene.video.encoders.params import join_encoder_args, joined_items, parse_encoder_args
from scene.video.encoders.settings import EncoderSettings
from scene.video.source.open import reason

log = logging.getLogger(__name__)

# Above the least that hardware encoders take.
_SIDE = 256
_TRIAL_SIZE = 64


def warn_of_corrections(encoder: Encoder, settings: EncoderSettings) -> None:
    """Logs a warning for each number of `encoder_args` of which the encoder makes another in silence, as x264 does.

    To be called after an encoder has been opened with these settings, since it tells no mistakes.
    """
    items = parse_encoder_args(settings.encoder_args)
    if not encoder.corrects_in_silence or not items:
        return
    own, items = encoder.split_args(items)
    preset = settings.preset or encoder.default_preset
    options = {"preset": preset, **own, encoder.params_option or "": join_encoder_args(items)}
    for name, asked, taken in altered(items, _settings_reported(encoder, options)):
        log.warning("%s takes %s=%s of `encoder_args` as %s.", encoder.name, name, asked, taken)


def refusal(context: VideoCodecContext, encoder: Encoder, options: Mapping[str, str], failure: str) -> str:
    """The sentence for an encoder that does not open, with the parameter that is to blame where one is."""
    said = failure.strip().rstrip(".")
    guilty = _guilty(context, encoder, options)
    if guilty:
        # SVT-AV1 and x265 give their reasons to stderr only.
        because = "" if "bad parameter" in said or "Invalid data" in said or "setting option" in said else f": {said}"
        return f"{encoder.name} refuses {guilty} of `encoder_args`{because}."
    return f"{encoder.name} refuses {context.width}x{context.height} {context.pix_fmt} with these settings: {said}."


def _guilty(context: VideoCodecContext, encoder: Encoder, options: Mapping[str, str]) -> str | None:
    """The parameter with which alone the encoder does not open, though it does without."""
    key = encoder.params_option
    if key is None:
        return None
    own = {name: value for name, value in options.items() if name == "profile"}
    items = [*joined_items(options.get(key, "")), *own.items()]

    def opens(chosen: list[tuple[str, str]]) -> bool:
        trial = cast(VideoCodecContext, av.CodecContext.create(context.name, "w"))
        trial.width, trial.height, trial.pix_fmt = context.width, context.height, context.pix_fmt
        trial.time_base, trial.framerate = context.time_base, context.framerate
        given, rest = encoder.split_args(chosen)
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
    quiet = [*joined_items(encoder.quiet_params), *ours]
    if not opens([]):
        return None
    return next((f"{name}={value}" for name, value in items if not opens([(name, value)])), None)


def hint(encoder: Encoder, said: str) -> str:
    """The known name that is meant, perhaps; where the encoder tells its names, and does not know what was said."""
    name = re.split(r"[ =:]", said)[0]
    if not encoder.reports_settings:
        return ""
    known = _settings_reported(encoder, quiet_options(encoder))
    near = nearest(name, known)
    return f" (is {near} meant?)" if near and near != name.replace("_", "-") else ""


def _settings_reported(encoder: Encoder, options: dict[str, str]) -> dict[str, str]:
    context = tiny_context(encoder, _TRIAL_SIZE, options)
    with ffmpeg_log():
        try:
            context.open()
            return reported_settings(tiny_encode(context))
        except (av.FFmpegError, ValueError):
            return {}


def quiet_options(encoder: Encoder) -> dict[str, str]:
    """Options without which an encoder writes to stderr itself."""
    return {encoder.params_option: encoder.quiet_params} if encoder.params_option and encoder.quiet_params else {}


# Of what x264 reports it makes other numbers where the sizes or other parameters of a tiny picture want it.
_OF_PICTURES = {"threads", "lookahead-threads"}


def reported_settings(packet: bytes) -> dict[str, str]:
    """Settings by name from a packet that holds x264's or x265's message; empty without one. A flag has the value 1.

    Names have dashes, as they are given to the encoder.
    """
    match = re.search(rb"options: ([ -~]+)", packet)
    if not match:
        return {}
    pairs = (word.partition("=") for word in match[1].decode("ascii").split())
    return {name.replace("_", "-"): value if equals else "1" for name, equals, value in pairs}


def tiny_context(encoder: Encoder, side: int, options: dict[str, str]) -> VideoCodecContext:
    """An encoder, not yet opened, of square 4:2:0 pictures at 25 frames per second."""
    context = cast(VideoCodecContext, av.CodecContext.create(encoder.ffmpeg_name, "w"))
    context.width = context.height = side
    context.pix_fmt, context.options = "yuv420p", options
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    return context


def tiny_encode(context: VideoCodecContext) -> bytes:
    """The first packet of one grey picture; empty if the encoder gives none."""
    frame = av.VideoFrame(context.width, context.height, context.pix_fmt or "")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    return bytes(packets[0]) if packets else b""


def altered(items: Iterable[tuple[str, str]], settings: dict[str, str]) -> list[tuple[str, str, str]]:
    """Numbers that an encoder took as others: (name, asked, taken)."""
    found = []
    for name, value in items:
        taken = settings.get(name.replace("_", "-"), "")
        if name in _OF_PICTURES or not _number(value) or not _number(taken):
            continue
        if abs(float(value) - float(taken)) > 0.01:
            found.append((name, value, taken))
    return found


def nearest(name: str, settings: dict[str, str]) -> str | None:
    """The encoder's own name that looks most like a mistaken one."""
    return next(iter(difflib.get_close_matches(name.replace("_", "-"), settings, 1, 0.7)), None)


def _number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def require_hardware(encoder: Encoder) -> None:
    """Raises MissingError unless an NVIDIA GPU and its driver open this encoder."""
    context = tiny_context(encoder, _SIDE, {})
    failure: Exception | None = None
    with ffmpeg_log() as lines:
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            failure = error
    if failure is not None:
        said = next(iter(lines), reason(failure)).strip().rstrip(".")
        raise MissingError(
            f"{encoder.name} needs an NVIDIA GPU with an encoder for it, and its driver ({said}); use "
            f"{trial_encoders()}."
        )


def try_encoder(encoder: Encoder) -> str:
    """Encodes a grey picture; what the encoder is called and takes, in words.

    Raises:
        MissingError: this PyAV has no such encoder, or it cannot be opened or used here.
    """
    if encoder.ffmpeg_name not in av.codecs_available:
        raise MissingError(f"this build of PyAV has no {encoder.ffmpeg_name}.")
    context = tiny_context(encoder, _SIDE, quiet_options(encoder))
    failure: Exception | None = None
    coded = b""
    with ffmpeg_log() as lines:
        try:
            coded = tiny_encode(context)
        except (av.FFmpegError, ValueError) as error:
            failure = error
    if failure is not None:
        # The first of FFmpeg's messages says more than its error does: which library could not be loaded.
        said = next(iter(lines), reason(failure)).strip().rstrip(".")
        raise MissingError(f"{encoder.ffmpeg_name} does not work here: {said}.")
    if not coded:
        raise MissingError(f"{encoder.ffmpeg_name} gave nothing.")
    formats = av.Codec(encoder.ffmpeg_name, "w").video_formats or []
    depths = sorted({component.bits for fmt in formats for component in fmt.components[:1]})
    return f"{encoder.ffmpeg_name}, {', '.join(map(str, depths))} bit"
