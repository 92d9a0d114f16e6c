"""What a written file must hold: the writer's account, against which the file is verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scene.video.container.digest import TrackDigest
from scene.video.container.formats import Container

if TYPE_CHECKING:
    from scene.video.encoders.base import Encoder
    from scene.video.source.probe import SourceInfo


@dataclass(frozen=True, slots=True)
class OutputManifest:
    """One file.

    Attributes:
        info: of the source, whose properties the file shall have.
        parameters: the user's own for the encoder, which may say otherwise.
        size, bit_depth: of the coded pictures; width and height, and bits of a sample.
        before: other video tracks that come before the encoded one.
        stamps: the presentation times of the encoded frames, increasing, in units of `info.time_base` seconds.
        video: what the encoder gave.
        tracks: the copied ones, in the order of the file.
    """

    info: SourceInfo
    codec: Encoder
    container: Container
    parameters: str
    size: tuple[int, int]
    bit_depth: int
    before: int
    stamps: Sequence[int]
    video: TrackDigest
    tracks: tuple[TrackDigest, ...]
