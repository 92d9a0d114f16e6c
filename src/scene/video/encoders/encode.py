"""How a source's properties and the user's settings become those of an encoder."""

from __future__ import annotations

import logging
import re
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext

from scene.errors import InputError, TargetError, UsageError
from scene.picture import PictureFormat
from scene.video.av_log import ffmpeg_log
from scene.video.encoders.codecs import CODECS, Codec, StatisticsPass
from scene.video.encoders.mistakes import hint, refusal
from scene.video.encoders.params import (
    QUIET,
    join_encoder_args,
    joined_items,
    split_by_taker,
)
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoders.x264_asm import cpu_flags, steady_params
from scene.video.hdr import HDR_TRANSFERS, encoder_params
from scene.video.pixel_format import sample_layout
from scene.video.source.open import reason
from scene.video.source.probe import SourceInfo

log = logging.getLogger(__name__)

_X264_RGB = "libx264rgb"
# What these encoders know of ITU-T H.273's numbers. x264 leaves later ones out in silence.
_LAST_PRIMARIES = {"x264": 12, "x265": 12}
_LAST_MATRIX = {"x264": 14, "x265": 15}
# NVENC takes deeper samples in this layout only.
_SEMI_PLANAR = {"yuv420p10le": "p010le"}
_VVENC_FORMAT = "yuv420p10le"


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
        raise UsageError("svtav1 has no rate control for pictures with a side below 64 pixels; use `crf`.")
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
            raise UsageError(f"{codec.name} does not take this of `encoder_args`: {said}{hint(codec, said)}.")
    if failure is not None:
        said = next((text for text in lines if "Cannot open" not in text), reason(failure))
        if "bitrate is too low" in said:
            raise TargetError(f"`bitrate` cannot be reached with {codec.name}: {said.strip()}.")
        raise UsageError(refusal(context, codec, options, said))
    for text in lines:
        if "ignored" in text or "disabling" in text:
            log.warning("%s: %s.", codec.name, text.strip().rstrip("."))
    if codec.params_option is None:
        left = sorted(set(context.options) - {"chroma_sample_location"})
        if left:
            raise UsageError(f"{codec.name} does not take this of `encoder_args`: {left[0]}.")
