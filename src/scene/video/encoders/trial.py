"""Trial encodes: some pictures through an encoder with the settings of a whole video, and back again."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from scene.errors import SceneError, UsageError
from scene.picture import Picture, Plane
from scene.video.encoders.codecs import CODECS, Codec
from scene.video.encoders.encode import configure, encoded_size, encoder_name, open_encoder
from scene.video.encoders.params import joined_items
from scene.video.encoders.settings import EncoderSettings
from scene.video.pixel_format import frame_picture, picture_format, write_picture
from scene.video.source.open import reason
from scene.video.source.probe import SourceInfo

_DECODERS = {"x264": "h264", "x265": "hevc", "svtav1": "libdav1d"}
# Parameters for one thread, where FFmpeg's own option is not enough.
_ONE_THREAD = {"x264": "", "x265": "pools=1", "svtav1": "lp=1"}

# Parameters that name frames by their number.
_NUMBERING = {"zones", "zonefile"}

# The encoders' own intervals of key frames: frames with x264 and x265, seconds, roughly, with SVT-AV1.
_X26X_KEY_FRAMES = 250.0
_SVTAV1_KEY_S = 5


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial encode gave.

    Attributes:
        bytes: coded, without messages: x264 and x265 write their settings into the stream, as much as a small picture.
        lumas: the decoded luma planes, (H, W), in order.
        bit_depth: of them.
    """

    bytes: int
    lumas: tuple[Plane, ...]
    bit_depth: int


def try_encode(
    pictures: Sequence[Picture], stamps: Sequence[int], settings: EncoderSettings, info: SourceInfo
) -> Trial:
    """Encodes pictures on one thread as `Writer` would encode a video of them, and decodes the result.

    Args:
        pictures: of one format; a subsampled direction has an even size.
        stamps: when each is shown, in the source's time base.
        settings: of the video; a CRF that is wanted for the trial is set in them.
        info: of the source that the pictures are of; they have all but its size.

    Raises:
        SceneError: the encoder refuses the size or the settings, encoding or decoding failed, or frames were lost.
    """
    sizes: list[int] = []
    decoded = stream_trial(zip(pictures, stamps, strict=True), settings, info, sizes)
    lumas, depths = zip(*((picture.planes[0].copy(), picture.format.bit_depth) for picture in decoded), strict=True)
    return Trial(bytes=sum(sizes), lumas=lumas, bit_depth=depths[0])


def stream_trial(
    pictures: Iterable[tuple[Picture, int]], settings: EncoderSettings, info: SourceInfo, sizes: list[int]
) -> Iterator[Picture]:
    """`try_encode` for pictures that come and go one by one, so that memory does not grow with their number.

    Args:
        pictures: each with its time stamp, at least one.
        sizes: gets the coded bytes of each packet, in coding order, without messages.

    Yields:
        The decoded pictures in order, each valid until the next; of the encoder's size, see `encoded_size`.

    Raises:
        SceneError: as `try_encode` does.
    """
    codec = CODECS[settings.codec]
    ahead = iter(pictures)
    first = next(ahead)
    info = replace(info, format=first[0].format)
    encoder = _encoder(codec, settings, info)
    given = taken = 0
    try:
        # Not by `open_encoder`, which listens to the log of all threads: somebody has tried these settings by now.
        encoder.open()
        decoder = cast(VideoCodecContext, av.CodecContext.create(_DECODERS[codec.name], "r"))
        decoder.thread_count = 1
        for picture, stamp in chain([first], ahead):
            given += 1
            for packet in encoder.encode(_frame(encoder, codec, picture, stamp, info)):
                sizes.append(_coded_bytes(bytes(packet), codec))
                for frame in decoder.decode(packet):
                    taken += 1
                    yield frame_picture(frame, picture_format(frame))
        rest = encoder.encode(None)
        sizes.extend(_coded_bytes(bytes(packet), codec) for packet in rest)
        for last in (*rest, None):
            for frame in decoder.decode(last):
                taken += 1
                yield frame_picture(frame, picture_format(frame))
    except (av.FFmpegError, ValueError) as error:
        raise SceneError(f"a trial encode with {codec.name} failed: {reason(error)}.") from error
    if taken != given:
        raise SceneError(f"{taken} of {given} frames came out of a trial encode with {codec.name}.")


def check_trial(settings: EncoderSettings, info: SourceInfo) -> None:
    """Opens the encoder as a trial of whole pictures does; raises UsageError as `open_encoder` does."""
    codec = CODECS[settings.codec]
    check_part(settings)
    open_encoder(_encoder(codec, settings, info), codec)


def check_part(settings: EncoderSettings) -> None:
    """Raises UsageError for encoder parameters with which a part of a video cannot be encoded by itself."""
    for name, value in joined_items(settings.encoder_args):
        if name in _NUMBERING:
            raise UsageError(
                f"`encoder_args` {name}={value} counts frames from the beginning of the video, and only parts of it "
                "are tried; leave it out."
            )


def key_frame_interval(settings: EncoderSettings, rate: Fraction) -> float:
    """The most frames from one key frame to the next, infinite where a video has but one.

    Args:
        rate: frames per second.
    """
    given = dict(joined_items(settings.encoder_args)).get("keyint", "")
    if match := re.fullmatch(r"([0-9]+)(s?)", given):
        frames = float(match[1]) * (float(rate) if match[2] else 1)
        return math.inf if settings.codec == "svtav1" and frames == 0 else max(1.0, frames)
    if given in {"-1", "infinite"}:
        return math.inf
    return float(_SVTAV1_KEY_S * rate) if settings.codec == "svtav1" else _X26X_KEY_FRAMES


def _encoder(codec: Codec, settings: EncoderSettings, info: SourceInfo) -> VideoCodecContext:
    arguments = ":".join(filter(None, (_ONE_THREAD[codec.name], settings.encoder_args)))
    encoder = cast(VideoCodecContext, av.CodecContext.create(encoder_name(codec, info), "w"))
    configure(encoder, codec, replace(settings, encoder_args=arguments), info)
    encoder.thread_count = 1
    return encoder


def _frame(encoder: VideoCodecContext, codec: Codec, picture: Picture, stamp: int, info: SourceInfo) -> av.VideoFrame:
    frame = av.VideoFrame(*encoded_size(codec, picture.format), encoder.pix_fmt or "")
    write_picture(frame, picture)
    frame.pts, frame.time_base = stamp, info.time_base
    frame.color_primaries, frame.color_trc = info.colour.primaries, info.colour.transfer
    frame.colorspace, frame.color_range = info.colour.matrix, info.colour.range
    return frame


def _coded_bytes(packet: bytes, codec: Codec) -> int:
    """Size without supplemental messages (SEI). Start codes appear nowhere but between H.264's and HEVC's units."""
    if codec.name == "svtav1":
        return len(packet)
    units = re.split(rb"\x00*\x00\x00\x01", packet)[1:]
    return sum(len(unit) for unit in units if not _is_message(unit[0], codec))


def _is_message(first: int, codec: Codec) -> bool:
    return first & 31 == 6 if codec.name == "x264" else first >> 1 & 63 in (39, 40)
