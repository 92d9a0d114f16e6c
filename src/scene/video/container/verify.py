"""Checks of a finished file, made before it gets its name: is all there that was put in?"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from scene.errors import InputError, VerificationError
from scene.video.container.digest import TrackDigest, codec_name, kind_of
from scene.video.container.verify_pictures import check_all_pictures, check_properties, check_some_pictures
from scene.video.container.written import OutputManifest
from scene.video.source.open import open_input, read_packets, reason
from scene.video.source.probe import is_cover

Thoroughness = Literal["quick", "full"]

# Muxers and demuxers change the division into packets of the former, and the packets' contents of the latter.
_REPACKED = ("pcm_",)
_REWRAPPED = frozenset({"eac3", "truehd", "dvb_subtitle", "hdmv_pgs_subtitle", "s302m"})
# Video whose contents `TrackSum` can tell from what containers add.
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
                check_all_pictures(container, video, name, written)
            else:
                check_some_pictures(container, video, name, written, keys)
        check_properties(path, index, name, written)
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
    if meant.kind == "cover":
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
