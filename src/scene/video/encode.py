"""The encoders: their names, ranges and defaults, and how a source's properties become an encoder's settings."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
from av.video.codeccontext import VideoCodecContext

from scene.errors import InputError, MissingError, TargetError, UsageError
from scene.picture import PictureFormat
from scene.video.encoder_args import (
    QUIET,
    check_encoder_args,
    join_encoder_args,
    joined_items,
    parse_encoder_args,
    split_by_taker,
)
from scene.video.encoder_mistakes import hint, refusal
from scene.video.ffmpeg import find_encoding_ffmpeg
from scene.video.hdr import HDR_TRANSFERS, encoder_params
from scene.video.messages import ffmpeg_log
from scene.video.opening import reason
from scene.video.probe import SourceInfo
from scene.video.sample_layout import sample_layout
from scene.video.x264_asm import cpu_flags, steady_params

log = logging.getLogger(__name__)

CodecName = Literal["x264", "x265", "svtav1", "vvenc", "nvenc-h264", "nvenc-hevc", "nvenc-av1"]

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
# Which write statistics in a first pass and read them in a second.
_TWO_PASSES = ("x264", "x265")
# NVENC takes deeper samples in this layout only.
_SEMI_PLANAR = {"yuv420p10le": "p010le"}
# From this preset on SVT-AV1 4.1 makes noise of busy pictures at CRFs below 2.5.
_FAST_SVTAV1, _LEAST_FAST_CRF = 11, 3
# Above the least that NVENC takes.
_LEAST_NVENC_SIDE = 256
_VVENC_PRESETS = ("faster", "fast", "medium", "slow", "slower")
_VVENC_FORMAT = "yuv420p10le"
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
class EncoderSettings:
    """What to encode with.

    Attributes:
        crf: constant rate factor, None for the codec's usual one; 0 to 51, with svtav1 to 63; with vvenc a whole QP.
        preset: None for the codec's usual one.
        encoder_args: the encoder's own parameters as `key=value:key=value`, see `scene.video.encoder_args`.
        bitrate: of the video stream in kbit/s, instead of a CRF.
        passes: over the source for a bitrate, 1 or 2; None for what suits the encoder.
    """

    codec: CodecName = "x264"
    crf: float | None = None
    preset: str | None = None
    encoder_args: str = ""
    bitrate: int | None = None
    passes: int | None = None


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
        raise UsageError(f"--crf {settings.crf:g} is out of range; {codec.name} takes {scale}.")
    if settings.preset is not None and settings.preset not in codec.presets:
        raise UsageError(f"{codec.name} has no preset {settings.preset!r}; choose {', '.join(codec.presets)}.")
    if codec.name == "svtav1" and settings.crf is not None:
        _check_svtav1_crf(settings.crf, settings.preset or codec.default_preset)
    if codec.is_external and settings.crf is not None and settings.crf != int(settings.crf):
        raise UsageError(f"--crf {settings.crf:g} is none of {codec.name}'s QPs, which are whole numbers.")
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
    if codec.name == "vvenc" and info.chroma_location not in {None, "left"}:
        log.warning("%s: that chroma lies %s is not handed to vvenc; it is lost.", info.path, info.chroma_location)


def encoder_name(codec: Codec, info: SourceInfo) -> str:
    """What FFmpeg calls the encoder of a source; that of x264 for RGB has a name of its own."""
    return _X264_RGB if codec.name == "x264" and info.format.matrix == "rgb" else codec.encoder


def _check_svtav1_crf(crf: float, preset: str) -> None:
    if crf % 0.25:
        raise UsageError(f"--crf {crf:g} is between two that svtav1 has; give a multiple of 0.25.")
    if crf < _LEAST_FAST_CRF and int(preset) >= _FAST_SVTAV1:
        raise UsageError(
            f"svtav1 breaks pictures at --crf {crf:g} with preset {preset}; give a CRF from {_LEAST_FAST_CRF}, or a "
            f"preset below {_FAST_SVTAV1}."
        )


def _check_rate_control(codec: Codec, settings: EncoderSettings, names: set[str]) -> None:
    if settings.bitrate is None:
        if settings.passes is not None:
            raise UsageError("--passes belongs to --bitrate; give a bitrate, or leave --passes out.")
        return
    if settings.crf is not None:
        raise UsageError("--crf and --bitrate exclude each other; give one of them.")
    if settings.bitrate < 1:
        raise UsageError(f"--bitrate {settings.bitrate} makes no sense; give kbit/s, such as 2500.")
    if settings.passes not in {None, 1, 2}:
        raise UsageError(f"--passes {settings.passes} makes no sense; give 1 or 2.")
    fixed = sorted(names & {"qp", "lossless"})
    if fixed:
        raise UsageError(f"--encoder-args {fixed[0]} fixes the quantiser, --bitrate the rate; leave one of them out.")
    if settings.passes == 2 and not codec.has_trials:
        raise UsageError(f"{codec.name} makes one pass; leave --passes out.")


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


def encoder_pixel_format(codec: Codec, info: SourceInfo) -> str:
    """The encoder's pixel format that holds the source's samples as they are; 8 bit within VVenC's 10.

    Raises:
        UsageError: the encoder takes no such format.
    """
    wanted = sample_layout(info.pixel_format).planar
    taken = _format_for(codec, info, wanted)
    if taken is not None:
        return taken
    fmt = info.format
    kind = "grey" if fmt.chroma == "400" else "RGB" if fmt.matrix == "rgb" else ":".join(fmt.chroma)
    others = [other.name for other in CODECS.values() if other.has_trials and _format_for(other, info, wanted)]
    base = re.sub(r"\d+le$", "", wanted)
    shallower = [name for name in (f"{base}12le", f"{base}10le", base) if _format_for(codec, info, name)]
    if others:
        way_out = f"; use {' or '.join(others)}"
    else:
        way_out = f"; convert it first (format={shallower[0]})" if shallower else ""
    raise UsageError(f"{codec.name} does not take {fmt.bit_depth}-bit {kind} video, as {info.path} is{way_out}.")


def _format_for(codec: Codec, info: SourceInfo, planar: str) -> str | None:
    """The encoder's own name for samples of a planar format, None where it takes none of these."""
    if codec.is_external:
        return _VVENC_FORMAT if planar in {"yuv420p", _VVENC_FORMAT} else None
    name = encoder_name(codec, info)
    supported = {fmt.name for fmt in av.Codec(name, "w").video_formats or []}
    # x264's encoder for RGB takes packed bytes.
    wanted = "rgb24" if name == _X264_RGB and planar == "gbrp" else planar
    if codec.is_nvenc:
        wanted = _SEMI_PLANAR.get(planar, planar)
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


def configure(
    context: VideoCodecContext,
    codec: Codec,
    settings: EncoderSettings,
    info: SourceInfo,
    turn: StatisticsPass | None = None,
) -> None:
    """Sets an encoder's context up for a source; `open_encoder` then opens it. `turn` is for one of two passes.

    Raises:
        UsageError: a pixel format that the encoder does not take, or a size at which it never ends.
    """
    _check_size(codec, info.format)
    if codec.name == "svtav1" and settings.bitrate is not None and min(info.format.width, info.format.height) < 64:
        raise UsageError("svtav1 has no rate control for pictures with a side below 64 pixels; use --crf.")
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
    context.options = encoder_options(codec, settings, info, turn)


def encoder_options(
    codec: Codec, settings: EncoderSettings, info: SourceInfo, turn: StatisticsPass | None = None
) -> dict[str, str]:
    """The options of the encoder in FFmpeg's terms; the user's own parameters come last and win."""
    options = {"preset": settings.preset or codec.default_preset, **_rate_options(codec, settings)}
    if info.chroma_location is not None:
        options["chroma_sample_location"] = info.chroma_location
    if info.captions and codec.name == "x265":
        options["a53cc"] = "1"  # the others' encoders that know captions take them anyway
    items = joined_items(settings.encoder_args)
    if codec.params_option is None:
        return {**options, **dict(items)}
    own, items = split_by_taker(codec.name, items)
    steady = steady_params(encoded_size(codec, info.format)[0], cpu_flags()) if codec.name == "x264" else []
    params = [QUIET[codec.name], *steady, *encoder_params(codec.name, info.hdr)]
    if codec.name == "svtav1" and "crf" in options:
        # FFmpeg's own option rounds fractions, and takes 0 for none.
        params.append(f"crf={options.pop('crf')}")
    if turn is not None:
        params.append(join_encoder_args([("pass", str(turn.number)), ("stats", str(turn.statistics))]))
    joined = ":".join(filter(None, [*params, join_encoder_args(items)]))
    if joined:
        options[codec.params_option] = joined
    return {**options, **own}


def _rate_options(codec: Codec, settings: EncoderSettings) -> dict[str, str]:
    if settings.bitrate is not None:
        rate = {"b": f"{settings.bitrate}k"}
        return {"rc": "vbr", **rate} if codec.is_nvenc else rate
    crf = codec.default_crf if settings.crf is None else settings.crf
    return {"rc": "vbr", "b": "0", "cq": f"{crf:g}"} if codec.is_nvenc else {"crf": f"{crf:g}"}


def open_encoder(context: VideoCodecContext, codec: Codec) -> None:
    """Opens a configured encoder.

    Raises:
        UsageError: the encoder refuses its size, format or parameters, or does not know one of them.
        TargetError: x264 saw in the first pass that the bitrate is too low.
    """
    options = dict(context.options)
    failure: Exception | None = None
    with ffmpeg_log() as lines:
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            failure = error
    # FFmpeg only logs parameters that an encoder does not know, and goes on without them.
    for text in lines:
        match = re.search(r"(?:Error parsing option|Unknown option:?|Invalid value for)\s*(.+?)\.?\s*$", text)
        if match:
            said = match[1].strip("'")
            raise UsageError(f"{codec.name} does not take this of --encoder-args: {said}{hint(codec, said)}.")
    if failure is not None:
        said = next((text for text in lines if "Cannot open" not in text), reason(failure))
        if "bitrate is too low" in said:
            raise TargetError(f"--bitrate cannot be reached with {codec.name}: {said.strip()}.")
        raise UsageError(refusal(context, codec, options, said))
    for text in lines:
        if "ignored" in text or "disabling" in text:
            log.warning("%s: %s.", codec.name, text.strip().rstrip("."))
    if codec.params_option is None:
        left = sorted(set(context.options) - {"chroma_sample_location"})
        if left:
            raise UsageError(f"{codec.name} does not take this of --encoder-args: {left[0]}.")
