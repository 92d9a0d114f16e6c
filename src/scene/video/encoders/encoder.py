"""Where the packets of the encoded video come from: what `Writer` asks of an encoder, wherever that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from scene.video.encoders.codec_encoder import CodecEncoder
from scene.video.encoders.codecs import CODECS, StatisticsPass
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoders.vvenc import VvencEncoder
from scene.video.source.decode import DecodedFrame
from scene.video.source.probe import SourceInfo


class Encoder(Protocol):
    """Makes packets of frames.

    Packets come in coding order, with the presentation times of their frames and the decoding times that belong to
    them; the stream that they are of is for the caller to set.

    Attributes:
        stream: of the output, which the encoder added to it; it belongs to its packets.
    """

    @property
    def stream(self) -> VideoStream: ...

    def start(self, turn: StatisticsPass | None) -> None:
        """Begins; to be called before the output's header is written.

        Raises:
            UsageError: the encoder refuses its settings.
        """

    def encode(self, frame: DecodedFrame) -> Iterable[Packet[Any]]:
        """Takes a frame, and gives what is ready of it and of those before it. Raises SceneError or FFmpegError."""

    def finish(self, check: Callable[[], None]) -> Iterator[Packet[Any]]:
        """The rest. `check` is called while it is waited for, and may raise. Raises SceneError or FFmpegError."""

    def kill(self) -> None:
        """Ends what other threads wait for in `encode` and `finish`, which raise then; from any thread, at any time."""

    def close(self) -> None:
        """Leaves nothing behind, whatever came before; not beside `encode` or `finish`."""


def add_encoder(output: OutputContainer, settings: EncoderSettings, info: SourceInfo) -> Encoder:
    """Adds the video's stream to an output that has not begun, with the encoder that will fill it.

    Raises:
        ValueError: the container holds no such video.
        UsageError: an encoder outside of this process refuses its settings.
        MissingError: there is no ffmpeg program for it.
    """
    codec = CODECS[settings.codec]
    if codec.is_external:
        return VvencEncoder(output, codec, settings, info)
    return CodecEncoder(output, codec, settings, info)
