"""Checks of a finished file, made before it gets its name: is all there that was put in, described as in the source?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from scene.errors import InputError, VerificationError
from scene.picture import UNSPECIFIED
from scene.video.container.digest import OutputManifest, TrackDigest, codec_name, kind_of
from scene.video.hdr import HdrMetadata
from scene.video.pixel_format import FULL_RANGE, parse_pixel_format
from scene.video.source.open import open_input, read_packets, reason
from scene.video.source.probe import SourceInfo, is_cover, probe

Thoroughness = Literal["quick", "full"]

# Frames decoded at the start.
_HEAD = 3
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
# Muxers and demuxers change the division into packets of the former, and the packets' contents of the latter.
_REPACKED = ("pcm_",)
_REWRAPPED = frozenset({"eac3", "truehd", "dvb_subtitle", "hdmv_pgs_subtitle", "s302m"})
# FFmpeg's demuxer gives these times near those of the programme's clock, whatever their own are.
_TIMED_BY_CLOCK = frozenset({"dvb_teletext"})
# Video whose contents `TrackDigest` can tell from what containers add.
_COMPARABLE_VIDEO = frozenset({"h264", "hevc", "av1", "vvc"})
# What two clocks of a container and an edit list may round off.
_ROUNDING_S = Fraction(1, 1000)


def verify(path: Path, name: Path, written: OutputManifest, thoroughness: Thoroughness = "quick") -> None:
    """Reads a written file again and compares it with what was put into it.

    All frames must be there, and all packets of all copied tracks, each with its content and at its time; size, pixel
    format, colour tags, sample aspect ratio, rotation and HDR metadata must be those of the source.

    Args:
        path: the file to read.
        name: what to call it in errors.
        thoroughness: what is decoded: with "quick" the first frames, a key frame in the middle and the frames from the
            last key frame on, with "full" every frame.

    Raises:
        VerificationError: the file does not hold what was put into it.
    """
    try:
        with open_input(path) as container:
            video = _encoded(container, name, written)
            index = video.index
            coded, keys, tracks = _read(container, video)
            offset = _check_stamps(video, name, written, sorted(coded.stamps))
            _check_content(name, written.video, coded)
        _check_tracks(name, written, tracks, offset)
        with open_input(path) as container:
            video = _encoded(container, name, written)
            # Otherwise decoders hide what is damaged.
            video.codec_context.options = {"err_detect": "explode"}
            if thoroughness == "full":
                _check_all_pictures(container, video, name, written)
            else:
                _check_some_pictures(container, video, name, written, keys)
        _check_properties(path, index, name, written)
    except InputError as error:
        raise VerificationError(f"{name}: the written file cannot be read back ({error}).") from None
    except av.FFmpegError as error:
        raise VerificationError(f"{name}: the written file cannot be read back ({reason(error)}).") from None


def _encoded(container: InputContainer, name: Path, written: OutputManifest) -> VideoStream:
    videos = [s for s in container.streams.video if not is_cover(s) and s.codec_context is not None]
    if len(videos) <= written.before:
        raise VerificationError(f"{name}: the written file has lost its video.")
    video = videos[written.before]
    video.thread_type = "AUTO"
    return video


def _read(container: InputContainer, video: VideoStream) -> tuple[TrackDigest, list[int], list[TrackDigest]]:
    """What the video holds, which of its packets are key frames, and what the other tracks hold."""
    coded = TrackDigest("video", codec_name(video), "the video")
    keys: list[int] = []
    # Time codes are a track of mp4 and mov, but a tag of what was copied.
    others = [s for s in container.streams if s != video and not (s.type == "data" and "timecode" in s.metadata)]
    tracks = {s.index: TrackDigest(kind_of(s), codec_name(s), f"track {s.index}") for s in others}
    packet: Packet[Any]
    for packet in read_packets(container):
        if packet.stream_index in tracks:
            tracks[packet.stream_index].add(packet)
        elif packet.stream_index == video.index and packet.size:
            if packet.is_keyframe:
                keys.append(coded.packets)
            coded.add(packet)
    return coded, keys, list(tracks.values())


def _check_stamps(video: VideoStream, name: Path, written: OutputManifest, found: Sequence[int]) -> Fraction:
    """Gives by how much all times were moved, in seconds: 0 but in containers that do that."""
    meant = written.stamps
    if len(found) != len(meant):
        raise VerificationError(f"{name}: {len(found)} of {len(meant)} frames were written.")
    assert video.time_base is not None
    clock, source_clock = Fraction(video.time_base), written.info.time_base
    offset = found[0] * clock - meant[0] * source_clock if written.container.shifts and meant else Fraction(0)
    for index, (is_at, should_be) in enumerate(zip(found, meant, strict=True)):
        # Times that the container's clock cannot express are rounded to its nearest tick.
        if abs(is_at * clock - offset - should_be * source_clock) > clock:
            raise VerificationError(
                f"{name}: frame {index} was written at {float(is_at * clock - offset):.4f} s "
                f"instead of {float(should_be * source_clock):.4f} s."
            )
    return offset


def _check_tracks(name: Path, written: OutputManifest, found: Sequence[TrackDigest], offset: Fraction) -> None:
    for kind in ("audio", "subtitle", "data", "video", "cover"):
        meant_of_kind = [track for track in written.tracks if track.kind == kind and track.packets]
        found_of_kind = [track for track in found if track.kind == kind and track.packets]
        if len(meant_of_kind) != len(found_of_kind):
            raise VerificationError(
                f"{name}: {len(found_of_kind)} of {len(meant_of_kind)} {kind} tracks with content were written."
            )
        for meant, read in zip(meant_of_kind, found_of_kind, strict=True):
            _check_track(name, meant, read, offset)


def _check_content(name: Path, meant: TrackDigest, found: TrackDigest) -> None:
    comparable = meant.codec not in _REWRAPPED and (meant.kind != "video" or meant.codec in _COMPARABLE_VIDEO)
    if comparable and (meant.size, meant.checksum) != (found.size, found.checksum):
        raise VerificationError(f"{name}: the content of {meant.name} has changed.")


def _check_track(name: Path, meant: TrackDigest, found: TrackDigest, offset: Fraction) -> None:
    repacked = meant.codec.startswith(_REPACKED)
    if meant.packets != found.packets and not repacked:
        raise VerificationError(f"{name}: {found.packets} of {meant.packets} packets of {meant.name} were written.")
    _check_content(name, meant, found)
    if meant.kind == "cover" or meant.codec in _TIMED_BY_CLOCK:
        return
    tolerance = found.time_base + _ROUNDING_S
    pairs = zip(meant.stamps, found.stamps, strict=False) if len(meant.stamps) == len(found.stamps) else ()
    for is_meant, is_found in pairs:
        if abs(is_found * found.time_base - offset - is_meant * meant.time_base) > tolerance:
            raise VerificationError(
                f"{name}: {meant.name} was written at {float(is_found * found.time_base - offset):.4f} s "
                f"instead of {float(is_meant * meant.time_base):.4f} s."
            )
    if repacked and abs(found.end - offset - meant.end) > tolerance:
        raise VerificationError(
            f"{name}: {meant.name} ends at {float(found.end - offset):.3f} s instead of {float(meant.end):.3f} s."
        )


def _check_some_pictures(
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
            shown += len(_decode(stream, packet, name, written))
    if shown + len(_decode(stream, None, name, written)) == 0:
        raise VerificationError(f"{name}: its last frames cannot be decoded.")


def _check_all_pictures(container: InputContainer, stream: VideoStream, name: Path, written: OutputManifest) -> None:
    """Decodes every frame; decoders must give them in the order in which they are shown."""
    packets = (packet for packet in read_packets(container, stream) if packet.size)
    shown = [time for packet in chain(packets, (None,)) for time in _decode(stream, packet, name, written)]
    if len(shown) != len(written.stamps):
        raise VerificationError(f"{name}: {len(shown)} of {len(written.stamps)} frames can be decoded.")
    times = [time for time in shown if time is not None]
    if times != sorted(times):
        raise VerificationError(f"{name}: its frames are decoded in another order than that in which they are shown.")


def _check_properties(path: Path, index: int, name: Path, written: OutputManifest) -> None:
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
        yield f"colour {what}", None if value == UNSPECIFIED else (value,)
    # Limited range is what a missing declaration means.
    yield "full range of codes", (info.colour.range == FULL_RANGE,)
    yield "sample aspect ratio", (float(info.sample_aspect_ratio or 1),)
    if written.container.rotation:
        yield "rotation", _axes(info.display_matrix)
    yield from _hdr(info.hdr)


def _axes(matrix: tuple[int, ...] | None) -> tuple[float, ...]:
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


def _decode(stream: VideoStream, packet: Packet[Any] | None, name: Path, written: OutputManifest) -> list[int | None]:
    """The times of the frames that a packet gives, all as they were encoded; None empties the decoder."""
    try:
        frames = stream.decode(packet)
    except av.EOFError:
        return []
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
    return [frame.pts for frame in frames]
