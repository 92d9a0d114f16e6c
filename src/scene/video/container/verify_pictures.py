"""Checks of a finished file's pictures: they can be decoded, and they are described as the source's were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from scene.errors import VerificationError
from scene.video.container.written import OutputManifest
from scene.video.hdr import HdrMetadata
from scene.video.pixel_format import FULL_RANGE, parse_pixel_format
from scene.video.source.open import read_packets, reason
from scene.video.source.probe import SourceInfo, probe

# Frames decoded at the start.
_HEAD = 3
_UNSPECIFIED = 2
_UPRIGHT = (1, 0, 0, 0, 1, 0, 0, 0, 1)
# Parameters by which the user may have asked for other tags than the source's.
_TAG_PARAMETERS = frozenset(
    {"colorprim", "transfer", "colormatrix", "range", "fullrange", "videoformat", "sar", "overscan", "hdr10", "hdr"}
    | {"master-display", "mastering-display", "max-cll", "cll", "content-light", "input-csp"}
    | {"colourprimaries", "transfercharacteristics", "matrixcoefficients", "videofullrange", "sdr"}
    | {"aspectratioinfopresent", "aspectratioidc", "sarwidth", "sarheight"}
    | {"masteringdisplaycolourvolume", "maxcontentlightlevel"}
    | {"color-primaries", "transfer-characteristics", "matrix-coefficients", "color-range", "video-signal-type-preset"}
)
# A part of the value, for numbers that are rounded on their way.
_ROUNDING = 1 / 200


def check_some_pictures(
    container: InputContainer, stream: VideoStream, name: Path, written: OutputManifest, keys: Sequence[int]
) -> None:
    """Decodes the first frames, a key frame in the middle and the frames from the last key frame on.

    Args:
        keys: which of the stream's packets, counted from 0, are key frames.
    """
    frames = len(written.stamps)
    goals = {0: _HEAD, keys[len(keys) // 2]: 1, keys[-1]: frames} if keys else {0: frames}
    goal = shown = 0
    # Not by seeking: transport streams have no index, and a search by time ends between key frames.
    for index, packet in enumerate(packet for packet in read_packets(container, stream) if packet.size):
        if index in goals:
            if shown >= goal:
                stream.codec_context.flush_buffers()
                shown = 0
            goal = shown + goals[index]
        if shown < goal:
            shown += _decode(stream, packet, name, written)
    if shown + _decode(stream, None, name, written) == 0:
        raise VerificationError(f"{name}: its last frames cannot be decoded.")


def check_all_pictures(container: InputContainer, stream: VideoStream, name: Path, written: OutputManifest) -> None:
    """Decodes every frame."""
    packets = (packet for packet in read_packets(container, stream) if packet.size)
    count = sum(_decode(stream, packet, name, written) for packet in packets) + _decode(stream, None, name, written)
    if count != len(written.stamps):
        raise VerificationError(f"{name}: {count} of {len(written.stamps)} frames can be decoded.")


def check_properties(path: Path, index: int, name: Path, written: OutputManifest) -> None:
    """Compares what the file says of its pictures with what the source said, where a container has room for it."""
    info = probe(path, index)
    wanted = dict(_properties(written.info, written))
    keys = {parameter.partition("=")[0].lower() for parameter in written.parameters.split(":")}
    if keys & _TAG_PARAMETERS:
        return
    for what, found in _properties(info, written):
        if wanted[what] is not None and not _same(wanted[what], found):
            raise VerificationError(f"{name}: its {what} was lost on the way: {found} instead of {wanted[what]}.")


def _properties(info: SourceInfo, written: OutputManifest) -> Iterator[tuple[str, tuple[float, ...] | None]]:
    """Numbers by what they mean; None where nothing is declared."""
    for what in ("primaries", "transfer", "matrix"):
        value = getattr(info.colour, what)
        yield f"colour {what}", None if value == _UNSPECIFIED else (value,)
    # Limited range is what a missing declaration means.
    yield "full range of codes", (info.colour.range == FULL_RANGE,)
    yield "sample aspect ratio", (float(info.sample_aspect_ratio or 1),)
    if written.container.rotation:
        yield "rotation", _turn(info.display_matrix)
    yield from _hdr(info.hdr)


def _turn(matrix: tuple[int, ...] | None) -> tuple[float, ...]:
    """Where a display matrix points the picture's two axes; where it moves the picture to does not matter."""
    axes = (matrix or _UPRIGHT)[0:2] + (matrix or _UPRIGHT)[3:5]
    length = max(1, max(map(abs, axes)))
    return tuple(round(value / length, 2) for value in axes)


def _hdr(hdr: HdrMetadata) -> Iterator[tuple[str, tuple[float, ...] | None]]:
    display = hdr.mastering
    yield "content light level", hdr.content_light
    yield (
        "mastering display",
        None if display is None else (*display.red, *display.green, *display.blue, *display.white),
    )
    yield "mastering luminance", None if display is None else (display.max_luminance, display.min_luminance)


def _same(wanted: tuple[float, ...] | None, found: tuple[float, ...] | None) -> bool:
    if wanted is None or found is None:
        return wanted == found
    return all(abs(a - b) <= max(1e-4, abs(a) * _ROUNDING) for a, b in zip(wanted, found, strict=True))


def _decode(stream: VideoStream, packet: Packet[Any] | None, name: Path, written: OutputManifest) -> int:
    """How many frames a packet gives, each of the size and format that were encoded; None empties the decoder."""
    try:
        frames = stream.decode(packet)
    except av.EOFError:
        return 0
    except av.FFmpegError as error:
        raise VerificationError(f"{name}: a frame of it cannot be decoded ({reason(error)}).") from None
    fmt = written.info.format
    for frame in frames:
        if frame.is_corrupt:
            raise VerificationError(f"{name}: a frame of it is damaged.")
        chroma, depth = parse_pixel_format(frame.format.name)
        # A grey picture is decoded with neutral chroma by some decoders.
        if (frame.width, frame.height, depth) != (*written.size, written.bit_depth) or fmt.chroma not in {
            chroma,
            "400",
        }:
            raise VerificationError(
                f"{name}: a frame of it is {frame.width}x{frame.height} {frame.format.name} instead of "
                f"{written.size[0]}x{written.size[1]} {written.info.pixel_format} in {written.bit_depth} bit."
            )
    return len(frames)
