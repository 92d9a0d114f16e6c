"""HDR: what a stream says of it, what cannot be kept, and HDR10's metadata as the encoders' parameters."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import av
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.stream import VideoStream

from scene.video.described import described_streams

log = logging.getLogger(__name__)

# Transfer characteristics of ITU-T H.273.
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """SMPTE ST 2086: chromaticities of red, green, blue and white as (x, y), luminances in cd/m2."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]
    min_luminance: float
    max_luminance: float


@dataclass(frozen=True, slots=True)
class HdrMetadata:
    """What HDR10 says of the whole stream; either part may be absent.

    Attributes:
        content_light: MaxCLL and MaxFALL in cd/m2.
    """

    mastering: MasteringDisplay | None = None
    content_light: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return self.mastering is not None or self.content_light is not None


def read_hdr(frame: av.VideoFrame) -> HdrMetadata:
    """The static HDR metadata that a decoder attached to a frame."""
    data = side_data(frame)
    display, light = data.get("MASTERING_DISPLAY_METADATA"), data.get("CONTENT_LIGHT_LEVEL")
    return HdrMetadata(
        mastering=_parse_mastering(display) if display else None,
        content_light=struct.unpack_from("=II", light) if light else None,
    )


@dataclass(frozen=True, slots=True)
class DolbyVision:
    """Dolby Vision's configuration record.

    Attributes:
        compatibility: what the base layer is without its metadata: 0 for nothing that a player could show, 1 for
            HDR10, 2 for SDR, 4 for HLG, 6 for the HDR10 of a Blu-ray.
    """

    profile: int
    compatibility: int

    @property
    def base_layer_stands_alone(self) -> bool:
        return self.compatibility != 0


def read_dolby_vision(container: InputContainer, stream: VideoStream) -> DolbyVision | None:
    """The Dolby Vision configuration that a stream's container declares."""
    described = described_streams(container).get(stream.index, "")
    match = re.search(r"DOVI configuration record:.*\bprofile: (\d+),.*\bcompatibility id: (\d+)", described)
    return DolbyVision(int(match[1]), int(match[2])) if match else None


def side_data(frame: av.VideoFrame) -> dict[str, bytes]:
    """A frame's side data by the name of its kind, as in AVFrameSideDataType; the C structs as bytes."""
    try:
        return {item.type.name: bytes(item) for item in cast(Iterable[SideData], frame.side_data)}
    except ValueError:  # a kind that PyAV has no name for
        return {}


def _parse_mastering(data: bytes) -> MasteringDisplay | None:
    # AVMasteringDisplayMetadata: ten AVRationals (three primaries, white point, min and max), then two flags.
    numbers = struct.unpack_from("=22i", data)
    has_primaries, has_luminance = numbers[20:22]
    if not (has_primaries and has_luminance) or not all(numbers[1:20:2]):
        return None
    values = [numbers[i] / numbers[i + 1] for i in range(0, 20, 2)]
    return MasteringDisplay(
        red=(values[0], values[1]),
        green=(values[2], values[3]),
        blue=(values[4], values[5]),
        white=(values[6], values[7]),
        min_luminance=values[8],
        max_luminance=values[9],
    )


def warn_of_hdr(name: str, transfer: int) -> None:
    """Logs a warning where a model is to enhance a source with a transfer function of HDR."""
    hdr = HDR_TRANSFERS.get(transfer)
    if hdr:
        log.warning("%s is HDR (%s), and models see SDR only in training; compare with `model` none.", name, hdr)
