"""The encoders: their names, ranges and defaults, and how a source's properties become an encoder's settings."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import av.logging
from av.video.codeccontext import VideoCodecContext

from scene.errors import InputError, MissingError, UsageError
from scene.picture import PictureFormat
from scene.video.hdr import HDR_TRANSFERS, encoder_params
from scene.video.opening import reason
from scene.video.probe import SourceInfo
from scene.video.sample_layout import sample_layout
from scene.video.x264_asm import cpu_flags, steady_params

log = logging.getLogger(__name__)

CodecName = Literal["x264", "x265", "svtav1"]

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
_X264_RGB = "libx264rgb"
# What these encoders know of ITU-T H.273's numbers. x264 leaves later ones out in silence.
_LAST_PRIMARIES = {"x264": 12, "x265": 12}
_LAST_MATRIX = {"x264": 14, "x265": 15}
# x265 and SVT-AV1 print to stderr by themselves; x264 and whatever goes through FFmpeg's log does not.
_QUIET = {"x264": "", "x265": "log-level=none", "svtav1": ""}


@dataclass(frozen=True, slots=True)
class Codec:
    """One encoder.

    Attributes:
        encoder: its name in FFmpeg.
        default_crf, max_crf: of the constant rate factor, from 0.
        subsamples_need_even: whether a subsampled direction must have an even size.
    """

    name: CodecName
    encoder: str
    default_crf: float
    max_crf: float
    default_preset: str
    presets: tuple[str, ...]
    params_option: str
    subsamples_need_even: bool


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("x264", "libx264", 23, 51, "medium", _X26X_PRESETS, "x264-params", True),
        Codec("x265", "libx265", 28, 51, "medium", _X26X_PRESETS, "x265-params", True),
        Codec("svtav1", "libsvtav1", 35, 63, "6", tuple(str(n) for n in range(-1, 14)), "svtav1-params", False),
    )
}


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What to encode with.

    Attributes:
        crf: constant rate factor, None for the codec's usual one; 0 to 51, with svtav1 to 63.
        preset: None for the codec's usual one.
        encoder_args: the encoder's own parameters as `key=value:key=value`.
    """

    codec: CodecName = "x264"
    crf: float | None = None
    preset: str | None = None
    encoder_args: str = ""


def check_settings(settings: EncoderSettings) -> Codec:
    """The codec behind settings that can be meant.

    Raises:
        UsageError: an unknown codec or preset, a CRF out of range, malformed arguments.
        MissingError: this PyAV was built without the encoder.
    """
    codec = CODECS.get(settings.codec)
    if codec is None:
        raise UsageError(f"codec {settings.codec!r} is unknown; choose {', '.join(CODECS)}.")
    if settings.crf is not None and not 0 <= settings.crf <= codec.max_crf:
        raise UsageError(f"--crf {settings.crf:g} is out of range; {codec.name} takes 0 to {codec.max_crf:g}.")
    if settings.preset is not None and settings.preset not in codec.presets:
        raise UsageError(f"{codec.name} has no preset {settings.preset!r}; choose {', '.join(codec.presets)}.")
    for item in filter(None, settings.encoder_args.split(":")):
        if not re.fullmatch(r"[\w-]+(=.*)?", item):
            raise UsageError(f"--encoder-args {item!r} is not of the form key=value.")
    if codec.encoder not in av.codecs_available:
        raise MissingError(f"this build of PyAV has no {codec.encoder}; install PyAV from its wheels.")
    return codec


def check_colour(codec: Codec, info: SourceInfo) -> None:
    """Logs a warning where a source's chroma location is lost.

    Raises:
        InputError: 8-bit samples with a transfer function of HDR, which needs 10.
        UsageError: the encoder cannot say what the primaries or the matrix are.
    """
    hdr = HDR_TRANSFERS.get(info.colour.transfer)
    if hdr and info.format.bit_depth == 8:
        raise InputError(
            f"{info.path} has 8 bit with the transfer function of HDR ({hdr}), which needs 10; correct its tags, or "
            "convert it first (format=yuv420p10le)."
        )
    for kind, value, last in (
        ("primaries", info.colour.primaries, _LAST_PRIMARIES.get(codec.name)),
        ("matrix", info.colour.matrix, _LAST_MATRIX.get(codec.name)),
    ):
        if last is not None and value > last:
            raise UsageError(
                f"{codec.name} cannot signal the colour {kind} of {info.path} (H.273's number {value}); use svtav1."
            )
    if codec.name == "svtav1" and info.chroma_location not in {None, "left", "topleft"}:
        log.warning("%s: AV1 cannot say that chroma lies %s; it is lost.", info.path, info.chroma_location)


def encoder_name(codec: Codec, info: SourceInfo) -> str:
    """What FFmpeg calls the encoder of a source; that of x264 for RGB has a name of its own."""
    return _X264_RGB if codec.name == "x264" and info.format.matrix == "rgb" else codec.encoder


def encoder_pixel_format(codec: Codec, info: SourceInfo) -> str:
    """The encoder's pixel format that holds the source's samples as they are.

    Raises:
        UsageError: the encoder takes no such format.
    """
    wanted = sample_layout(info.pixel_format).planar
    taken = _format_for(codec, info, wanted)
    if taken is not None:
        return taken
    fmt = info.format
    kind = "grey" if fmt.chroma == "400" else "RGB" if fmt.matrix == "rgb" else ":".join(fmt.chroma)
    others = [other.name for other in CODECS.values() if _format_for(other, info, wanted)]
    base = re.sub(r"\d+le$", "", wanted)
    shallower = [name for name in (f"{base}12le", f"{base}10le", base) if _format_for(codec, info, name)]
    if others:
        way_out = f"; use {' or '.join(others)}"
    else:
        way_out = f"; convert it first (format={shallower[0]})" if shallower else ""
    raise UsageError(f"{codec.name} does not take {fmt.bit_depth}-bit {kind} video, as {info.path} is{way_out}.")


def _format_for(codec: Codec, info: SourceInfo, planar: str) -> str | None:
    """The encoder's own name for samples of a planar format, None where it takes none of these."""
    name = encoder_name(codec, info)
    supported = {fmt.name for fmt in av.Codec(name, "w").video_formats or []}
    # x264's encoder for RGB takes packed bytes.
    wanted = "rgb24" if name == _X264_RGB and planar == "gbrp" else planar
    return wanted if wanted in supported else None


def encoded_size(codec: Codec, fmt: PictureFormat) -> tuple[int, int]:
    """(width, height) to encode: H.264 and HEVC cannot signal an odd size in a subsampled direction."""
    width, height = fmt.width, fmt.height
    if codec.subsamples_need_even:
        if fmt.chroma in {"420", "422"}:
            width += width % 2
        if fmt.chroma == "420":
            height += height % 2
    return width, height


def _check_size(codec: Codec, fmt: PictureFormat) -> None:
    # SVT-AV1 4.1 waits for ever after the last frame of pictures that are so narrow and fill more than one superblock.
    if codec.name == "svtav1" and min(fmt.width, fmt.height) <= 24 and max(fmt.width, fmt.height) > 64:
        raise UsageError(f"svtav1 cannot encode pictures as narrow as {fmt.width}x{fmt.height}; use x264 or x265.")


def configure(context: VideoCodecContext, codec: Codec, settings: EncoderSettings, info: SourceInfo) -> None:
    """Sets an encoder's context up for a source; `open_encoder` then opens it.

    Raises:
        UsageError: a pixel format that the encoder does not take, or a size at which it never ends.
    """
    _check_size(codec, info.format)
    context.width, context.height = encoded_size(codec, info.format)
    context.pix_fmt = encoder_pixel_format(codec, info)
    context.time_base = info.time_base
    context.framerate = info.rate
    if info.sample_aspect_ratio:
        context.sample_aspect_ratio = Fraction(info.sample_aspect_ratio)
    context.color_primaries = info.colour.primaries
    context.color_trc = info.colour.transfer
    context.colorspace = info.colour.matrix
    context.color_range = info.colour.range
    context.options = encoder_options(codec, settings, info)


def encoder_options(codec: Codec, settings: EncoderSettings, info: SourceInfo) -> dict[str, str]:
    """The options of the encoder in FFmpeg's terms; the user's own parameters come last and win."""
    crf = codec.default_crf if settings.crf is None else settings.crf
    steady = steady_params(encoded_size(codec, info.format)[0], cpu_flags()) if codec.name == "x264" else []
    params = [_QUIET[codec.name], *steady, *encoder_params(codec.name, info.hdr), *settings.encoder_args.split(":")]
    options = {"preset": settings.preset or codec.default_preset, "crf": f"{crf:g}"}
    if info.chroma_location is not None:
        options["chroma_sample_location"] = info.chroma_location
    joined = ":".join(filter(None, params))
    if joined:
        options[codec.params_option] = joined
    return options


def open_encoder(context: VideoCodecContext, codec: Codec) -> None:
    """Opens a configured encoder.

    Raises:
        UsageError: the encoder refuses its size, format or parameters, or does not know one of them.
    """
    with _ffmpeg_log() as lines:
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            said = next((text for text in lines if "Cannot open" not in text), reason(error))
            raise UsageError(
                f"{codec.name} refuses {context.width}x{context.height} {context.pix_fmt} with these settings: "
                f"{said.strip().rstrip('.')}."
            ) from None
    # FFmpeg only logs parameters that an encoder does not know, and goes on without them.
    for text in lines:
        match = re.search(r"(?:Error parsing option|Unknown option:?|Invalid value for)\s*(.+?)\.?\s*$", text)
        if match:
            raise UsageError(f"{codec.name} does not take this of --encoder-args: {match[1].strip(chr(39))}.")


class _ffmpeg_log:  # noqa: N801 - used as a function
    """Collects FFmpeg's warnings and errors, which it otherwise gives nobody, while an encoder opens."""

    def __enter__(self) -> list[str]:
        self._level = av.logging.get_level()
        av.logging.set_level(av.logging.WARNING)
        self._capture = av.logging.Capture(local=False)
        self._records = self._capture.__enter__()
        self.lines: list[str] = []
        return self.lines

    def __exit__(self, *details: object) -> None:
        self._capture.__exit__(None, None, None)
        av.logging.set_level(self._level)
        self.lines.extend(text for _, _, text in self._records)
