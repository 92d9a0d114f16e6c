"""What a source file holds, found out before work begins."""

from __future__ import annotations

import logging
import re
import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast, get_args

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.stream import VideoStream

from scene.errors import InputError
from scene.picture import UNSPECIFIED, ChromaLocation, PictureFormat
from scene.video.av_log import ffmpeg_log
from scene.video.display_matrix import Turn
from scene.video.hdr import HdrMetadata, read_dolby_vision, read_hdr, side_data
from scene.video.pixel_format import FULL_RANGE, source_format
from scene.video.source.crop import Crop, declared_crop
from scene.video.source.open import open_input, reason

log = logging.getLogger(__name__)

# H.264 and HEVC chroma_sample_loc_type, AV1 chroma_sample_position, as FFmpeg's option names them.
_H26X: tuple[ChromaLocation, ...] = ("left", "center", "topleft", "top", "bottomleft", "bottom")
_AV1: dict[int, ChromaLocation] = {1: "left", 2: "topleft"}
_DECLARED_IN_HEADERS = frozenset({"h264", "hevc", "av1", "libdav1d"})
_FIELD = re.compile(r"(chroma_sample_loc_type_top_field|chroma_sample_position)\s.*= (\d+)\s*$")


def read_chroma_location(container: InputContainer, stream: VideoStream) -> ChromaLocation | None:
    """The chroma location that an H.264, HEVC or AV1 stream declares, None where it declares none.

    Reads the stream's first packet from where the container stands.
    """
    try:
        for packet in container.demux(stream):
            return packet_chroma_location(packet, stream)
    except (av.FFmpegError, ValueError):
        pass
    return None


def packet_chroma_location(packet: Packet[Any], stream: VideoStream) -> ChromaLocation | None:
    """As `read_chroma_location`, from the stream's first packet."""
    if stream.codec_context.name not in _DECLARED_IN_HEADERS:
        return None
    try:
        with ffmpeg_log(av.logging.INFO) as lines:
            BitStreamFilterContext("trace_headers", stream).filter(packet)
    except (av.FFmpegError, ValueError):
        return None
    for text in lines:
        match = _FIELD.search(text)
        if match:
            value = int(match[2])
            return _AV1.get(value) if "position" in match[1] else dict(enumerate(_H26X)).get(value)
    return None


def frame_chroma_location(frame: av.VideoFrame, stream: VideoStream) -> ChromaLocation | None:
    """The chroma location that a decoder gives its frames, None where it gives none.

    Not for H.264, HEVC and AV1: their decoders give frames the usual one where the stream declares none.
    """
    if stream.codec_context.name in _DECLARED_IN_HEADERS:
        return None
    graph = Graph()
    try:
        graph.link_nodes(graph.add_buffer(template=stream), graph.add("showinfo"), graph.add("buffersink")).configure()
        with ffmpeg_log(av.logging.INFO) as lines:
            graph.push(frame)
            graph.pull()
    except (av.FFmpegError, ValueError):
        return None
    match = re.search(r"\bcl:(\w+)", "".join(lines))
    return cast(ChromaLocation, match[1]) if match and match[1] in get_args(ChromaLocation) else None


# Matrix coefficients of H.273: there is no matrix.
_RGB = 0
# The names by which x264, x265 and FFmpeg know the code points of H.273.
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020"}
_PRIMARIES |= {10: "smpte428", 11: "smpte431", 12: "smpte432"}
_TRANSFERS = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear"}
_TRANSFERS |= {11: "iec61966-2-4", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084"}
_TRANSFERS |= {18: "arib-std-b67"}
_MATRICES = {0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc"}
_MATRICES |= {10: "bt2020c", 14: "ictcp"}
# SVT-AV1 refuses more, and rate control gains nothing from it.
_MAX_RATE = 240
_USUAL_RATE = Fraction(30)
_DYNAMIC_METADATA = {
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
}
_PROJECTIONS = {"SPHERICAL": "spherical", "STEREO3D": "stereoscopic"}


@dataclass(frozen=True, slots=True)
class ColourTags:
    """Code points of ITU-T H.273, 2 meaning unspecified, and AVColorRange (0 unspecified, 1 limited, 2 full)."""

    primaries: int
    transfer: int
    matrix: int
    range: int

    def in_words(self) -> str:
        """What is specified, in the names of H.273's code points that encoders take, for example "matrix bt709"."""
        parts = (
            ("primaries", _PRIMARIES.get(self.primaries)),
            ("transfer", _TRANSFERS.get(self.transfer)),
            ("matrix", _MATRICES.get(self.matrix)),
        )
        return ", ".join(f"{kind} {name}" for kind, name in parts if name)


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """The video stream of a file, as its first decoded frame and its container describe it.

    Attributes:
        stream_index: the video stream's index in the container.
        pixel_format: FFmpeg's name, for example "yuv420p10le".
        time_base: the unit of the stream's time stamps in seconds.
        rate: frames per second, roughly where the frame rate varies.
        frames: the number of frames, an estimate, None where nothing says.
        chroma_location: of 4:2:0 chroma samples, None if not declared; that of the format is then the usual one.
        crop: what its container hides of the coded pictures; `format` is of what is shown.
        turn: how pictures are turned, rather than handed on with `display_matrix`.
        unscaled: the format of what is shown before it is scaled to `format`; None where it is not.
        network: whether it was opened to follow playlists, see `open_input`.
        display_matrix: nine integers as in FFmpeg's AV_PKT_DATA_DISPLAYMATRIX, None without rotation or flip.
        deinterlace: whether interlaced frames are to be deinterlaced, rather than refused.
        captions: whether the stream holds closed captions (ATSC A/53).
        projections: "spherical", "stereoscopic": how the picture is to be looked at, beyond its rotation.
    """

    path: Path
    stream_index: int
    codec: str
    format: PictureFormat
    pixel_format: str
    colour: ColourTags
    chroma_location: ChromaLocation | None
    hdr: HdrMetadata
    sample_aspect_ratio: Fraction | None
    display_matrix: tuple[int, ...] | None
    time_base: Fraction
    rate: Fraction
    frames: int | None
    deinterlace: bool = False
    captions: bool = False
    projections: tuple[str, ...] = ()
    network: bool = False
    crop: Crop | None = None
    turn: Turn | None = None
    unscaled: PictureFormat | None = None

    @property
    def coded_format(self) -> PictureFormat:
        """The format of the pictures that a decoder gives."""
        shown = self.unscaled or self.format
        shown = shown if self.turn is None else self.turn.undone(shown)
        return shown if self.crop is None else self.crop.coded(shown)


def probe(path: Path, video: int | None = None, *, deinterlace: bool = False, network: bool = False) -> SourceInfo:
    """Opens a file, decodes its first frame and closes it again.

    What would be lost is logged as a warning.

    Args:
        network: see `open_input`.
        video: the stream's index in the container, None for FFmpeg's choice.
        deinterlace: allow interlaced video, which a `Decoder` then deinterlaces.

    Raises:
        InputError: no such file, unreadable, no video in it, or video of a kind that is not supported.
    """
    with open_input(path, network=network) as container:
        location = read_chroma_location(container, video_stream(container, path, video))
    with open_input(path, network=network) as container:
        stream = video_stream(container, path, video)
        frame = _first_frame(container, stream, path)
        rate = nominal_rate(stream)
        if container.format.name == "yuv4mpegpipe" and not _says_rate(path):
            log.warning("%s says no frame rate; it is taken for %g frames/s.", path, rate)
        return describe(container, stream, frame, path, location, deinterlace=deinterlace, network=network)


def describe(
    container: InputContainer,
    stream: VideoStream,
    frame: av.VideoFrame,
    path: Path,
    location: ChromaLocation | None,
    *,
    deinterlace: bool = False,
    network: bool = False,
) -> SourceInfo:
    """What an open source holds, as its first decoded frame and its container say; as `probe`.

    Args:
        path: of the source, which messages name.
        location: of `read_chroma_location`.
    """
    fmt = source_format(frame, path, interlaced=deinterlace)
    location = location or frame_chroma_location(frame, stream)
    if location is not None:
        fmt = replace(fmt, chroma_location=location)
    crop = declared_crop(container, stream)
    if crop is not None:
        if crop.hides_all(fmt.width, fmt.height):
            raise InputError(f"{path}: its container hides all of its {fmt.width}x{fmt.height} pictures.")
        if crop.between_chroma(fmt):
            log.warning("%s: its crop begins within a sample of chroma, which is interpolated.", path)
        fmt = crop.shown(fmt)
    _warn_of_losses(container, stream, frame, fmt, path)
    rate = nominal_rate(stream)
    if stream.time_base is None:
        raise InputError(f"{path}: its video stream has no clock.")
    return SourceInfo(
        path=path,
        stream_index=stream.index,
        codec=stream.codec_context.name,
        format=fmt,
        pixel_format=frame.format.name,
        colour=ColourTags(
            primaries=_declared(frame.color_primaries, stream.codec_context.color_primaries),
            transfer=_declared(frame.color_trc, stream.codec_context.color_trc),
            matrix=_declared_matrix(stream, frame, fmt),
            range=FULL_RANGE if fmt.full_range else int(frame.color_range),
        ),
        chroma_location=location if fmt.chroma == "420" else None,
        hdr=read_hdr(frame),
        sample_aspect_ratio=stream.sample_aspect_ratio,
        display_matrix=_display_matrix(frame),
        time_base=stream.time_base,
        rate=rate,
        frames=_frame_count(container, stream, rate),
        network=network,
        crop=crop,
        deinterlace=deinterlace,
        captions="A53_CC" in side_data(frame),
        projections=tuple(sorted(_PROJECTIONS[name] for name in side_data(frame) if name in _PROJECTIONS)),
    )


def _says_rate(path: Path) -> bool:
    """Whether a YUV4MPEG2 file's first line has a frame rate, for which FFmpeg puts 25 otherwise."""
    with path.open("rb") as file:
        return re.search(rb" F(?!0:0\b)", file.readline(512)) is not None


def best_video(container: InputContainer, path: Path | str) -> VideoStream:
    """The video stream to work on: FFmpeg's choice, never a cover picture. Raises InputError if there is none."""
    candidates = [s for s in container.streams.video if not is_cover(s)]
    best = container.streams.best("video")
    stream = best if best in candidates else next(iter(candidates), None)
    if not isinstance(stream, VideoStream):
        raise InputError(f"{path} has no video stream.")
    if stream.codec_context is None:
        raise InputError(f"{path}: there is no decoder for its video.")
    return stream


def video_stream(container: InputContainer, path: Path, index: int | None = None) -> VideoStream:
    """The video stream with a number, by default the one of `best_video`. Raises InputError if there is none."""
    if index is None:
        return best_video(container, path)
    stream = container.streams[index] if index < len(container.streams) else None
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        raise InputError(f"{path}: its stream {index} is not video that can be decoded.")
    return stream


def is_cover(stream: av.stream.Stream) -> bool:
    """Whether a video stream is a still picture that belongs to the file rather than video."""
    return av.stream.Disposition.attached_pic in stream.disposition


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> av.VideoFrame:
    failure: av.FFmpegError | None = None
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    return frame
            except av.FFmpegError as error:
                failure = error
    except av.FFmpegError as error:
        failure = error
    because = f": {reason(failure)}" if failure else ""
    raise InputError(f"{path}: no frame of its video can be decoded{because}.")


def _warn_of_losses(
    container: InputContainer, stream: VideoStream, frame: av.VideoFrame, fmt: PictureFormat, path: Path
) -> None:
    dynamic = {_DYNAMIC_METADATA[name] for name in side_data(frame) if name in _DYNAMIC_METADATA}
    dolby_vision = read_dolby_vision(container, stream)
    if dolby_vision is not None:
        if not dolby_vision.base_layer_stands_alone:
            raise InputError(
                f"{path} is Dolby Vision of profile {dolby_vision.profile}, whose pictures have their colours only "
                "with its metadata, which is not carried over; convert it to HDR10 or SDR first."
            )
        dynamic.add("Dolby Vision")
    for kind in sorted(dynamic):
        log.warning("%s: its dynamic %s metadata is not carried over.", path, kind)
    if (
        fmt.matrix != "rgb"
        and fmt.chroma != "400"
        and _declared(frame.colorspace, stream.codec_context.colorspace) == _RGB
    ):
        log.warning("%s: its matrix is declared as RGB, which its pictures are not; that is left out.", path)
    if stream.metadata.get("alpha_mode") == "1":
        log.warning("%s: its transparency (alpha) is not carried over.", path)


def _declared(of_frame: int, of_stream: int) -> int:
    return int(of_frame) if int(of_frame) not in {0, UNSPECIFIED} else int(of_stream)


def _declared_matrix(stream: VideoStream, frame: av.VideoFrame, fmt: PictureFormat) -> int:
    if fmt.matrix == "rgb":
        return _RGB
    declared = _declared(frame.colorspace, stream.codec_context.colorspace)
    return UNSPECIFIED if declared == _RGB else declared


def _display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    matrix = side_data(frame).get("DISPLAYMATRIX")
    return struct.unpack_from("=9i", matrix) if matrix else None


def nominal_rate(stream: VideoStream) -> Fraction:
    """Frames per second as encoders want to know them; time stamps do not depend on it."""
    for rate in (stream.guessed_rate, stream.average_rate):
        # A variable rate may be declared as the tick of its clock, say 1000 or 90000.
        if rate and 0 < rate <= _MAX_RATE:
            return rate
    return _USUAL_RATE


def _frame_count(container: InputContainer, stream: VideoStream, rate: Fraction) -> int | None:
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate)
    # A container that declares no time stamps guesses its duration from the bit rate: worse than saying nothing.
    if container.duration and stream.start_time is not None:
        # Matroska's duration counts from zero, the others' from their start.
        late = (container.start_time or 0) if "matroska" in container.format.name else 0
        return max(1, round(Fraction(container.duration - late, av.time_base) * rate))
    return None
