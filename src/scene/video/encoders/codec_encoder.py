"""FFmpeg's encoders in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from scene.video.encoders.codecs import Codec, StatisticsPass
from scene.video.encoders.encode import configure, encoder_name, open_encoder
from scene.video.encoders.mistakes import check_taken
from scene.video.encoders.ready_frame import ready_frame
from scene.video.encoders.settings import EncoderSettings
from scene.video.source.decode import DecodedFrame
from scene.video.source.probe import SourceInfo


class CodecEncoder:
    """An `Encoder` in PyAV. Raises ValueError where the container holds no such video."""

    def __init__(self, output: OutputContainer, codec: Codec, settings: EncoderSettings, info: SourceInfo) -> None:
        self._codec = codec
        self._settings = settings
        self._info = info
        self._frames = 0
        self.stream = cast(VideoStream, output.add_stream(encoder_name(codec, info), rate=info.rate))

    def start(self, turn: StatisticsPass | None) -> None:
        """As `Encoder` has it."""
        configure(self.stream.codec_context, self._codec, self._settings, self._info, turn)
        open_encoder(self.stream.codec_context, self._codec)
        check_taken(self._codec, self._settings)

    def encode(self, frame: DecodedFrame) -> Iterator[Packet[Any]]:
        """As `Encoder` has it."""
        self._frames += 1
        packets = self.stream.encode(ready_frame(frame, self.stream.codec_context, self._info))
        return map(self._timed, packets)

    def finish(self, check: Callable[[], None]) -> Iterator[Packet[Any]]:
        """As `Encoder` has it."""
        for packet in self.stream.encode_lazy(None):
            yield self._timed(packet)
            check()

    def kill(self) -> None:
        """As `Encoder` has it: nothing waits for long."""

    def close(self) -> None:
        """As `Encoder` has it: PyAV does."""

    def _timed(self, packet: Packet[Any]) -> Packet[Any]:
        if self._codec.name == "x265" and self._frames <= 2:
            # x265 derives decoding times from its third frame; without one they are uninitialised memory.
            packet.dts = packet.pts
        return packet
