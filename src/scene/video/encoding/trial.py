"""Trial encodes: some pictures through an encoder with the settings of a whole video, and back again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from scene.errors import SceneError, UsageError
from scene.picture import Picture, Plane
from scene.video.encoders import find_encoder
from scene.video.encoders.params import joined_items
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.plan import EncodePlan, plan_encode
from scene.video.encoding.session import new_context, open_encoder
from scene.video.pixel_format import frame_picture, picture_format, write_picture
from scene.video.source.open import reason
from scene.video.source.probe import SourceInfo

# Parameters that name frames by their number.
_NUMBERING = {"zones", "zonefile"}


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
    pictures: Iterable[tuple[Picture, int]],
    settings: EncoderSettings,
    info: SourceInfo,
    sizes: list[int],
    *,
    one_thread: bool = True,
) -> Iterator[Picture]:
    """`try_encode` for pictures that come and go one by one, so that memory does not grow with their number.

    Args:
        pictures: each with its time stamp, at least one.
        sizes: gets the coded bytes of each packet, in coding order, without messages.
        one_thread: off for as many as the whole video's encoder has.

    Yields:
        The decoded pictures in order, each valid until the next; of the encoder's size, see `EncodePlan`.

    Raises:
        SceneError: as `try_encode` does.
    """
    ahead = iter(pictures)
    first = next(ahead)
    own = replace(info, format=first[0].format)
    plan = _trial_plan(settings, own) if one_thread else plan_encode(settings, own)
    codec = plan.encoder
    assert codec.decoder is not None
    encoder = _context(plan) if one_thread else new_context(plan)
    given = taken = 0
    try:
        # Not by `open_encoder`, which listens to the log of all threads: `check_trial` has validated these settings.
        encoder.open()
        decoder = cast(VideoCodecContext, av.CodecContext.create(codec.decoder, "r"))
        decoder.thread_count = 1
        for picture, stamp in chain([first], ahead):
            given += 1
            for packet in encoder.encode(_frame(plan, picture, stamp)):
                sizes.append(codec.coded_bytes(bytes(packet)))
                for frame in decoder.decode(packet):
                    taken += 1
                    yield frame_picture(frame, picture_format(frame))
        rest = encoder.encode(None)
        sizes.extend(codec.coded_bytes(bytes(packet)) for packet in rest)
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
    check_part(settings)
    plan = _trial_plan(settings, info)
    open_encoder(_context(plan), plan.encoder)


def check_part(settings: EncoderSettings) -> None:
    """Raises UsageError for encoder parameters with which a part of a video cannot be encoded by itself."""
    for name, value in joined_items(settings.encoder_args):
        if name in _NUMBERING:
            raise UsageError(
                f"`encoder_args` {name}={value} counts frames from the beginning of the video, and only parts of it "
                "are tried; leave it out."
            )


def _trial_plan(settings: EncoderSettings, info: SourceInfo) -> EncodePlan:
    one_thread = find_encoder(settings.codec).one_thread_params
    arguments = ":".join(filter(None, (one_thread, settings.encoder_args)))
    return plan_encode(replace(settings, encoder_args=arguments), info)


def _context(plan: EncodePlan) -> VideoCodecContext:
    context = new_context(plan)
    context.thread_count = 1
    return context


def _frame(plan: EncodePlan, picture: Picture, stamp: int) -> av.VideoFrame:
    frame = av.VideoFrame(*plan.size, plan.pixel_format)
    write_picture(frame, picture)
    colour = plan.info.colour
    frame.pts, frame.time_base = stamp, plan.info.time_base
    frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
    frame.colorspace, frame.color_range = colour.matrix, colour.range
    return frame
