"""The encoder of a live run: it goes on while outputs come and go, and begins a group of pictures where it is told."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream

from scene.errors import SceneError, UsageError
from scene.video.container.copies import add_copy
from scene.video.encoders.base import Encoder
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.plan import EncodePlan
from scene.video.encoding.session import CodecSession
from scene.video.source.decode import DecodedFrame
from scene.video.source.open import reason


def live_settings(settings: EncoderSettings, encoder: Encoder) -> EncoderSettings:
    """A user's settings with those that a live encode has where the user says nothing: soon and without delay.

    Raises:
        UsageError: the encoder cannot be used live, or not with two passes.
    """
    if encoder.live_args is None:
        raise UsageError(f"{encoder.name} cannot encode live; choose another `codec`.")
    if settings.passes == 2:
        raise UsageError("live video is encoded in one pass; leave `passes` out.")
    rate_args = "" if settings.bitrate is None else encoder.live_rate_args
    return replace(
        settings,
        preset=settings.preset or encoder.live_preset,
        encoder_args=":".join(filter(None, [encoder.live_args, rate_args, settings.encoder_args])),
        passes=None if settings.bitrate is None else 1,
    )


class LiveEncoder:
    """Frames in, packets out, for a muxer that need not be open yet.

    Args:
        plan: of the encode; its clock is the live one.
        muxer: FFmpeg's name of that of the output, which decides where parameter sets are.
        audio: the source's stream of sound; None without any.
        audio_config: what describes it, where it does not do so itself; see `scene.video.live.aac`.

    Attributes:
        streams: descriptions of what an output will hold, the video first.
        delay: the most frames that it held back so far.

    Raises:
        UsageError: the output cannot hold the video or the sound, or the encoder refuses its settings.
    """

    def __init__(self, plan: EncodePlan, muxer: str, audio: Stream | None, audio_config: bytes = b"") -> None:
        self._plan = plan
        self._muxer = muxer
        self._inside = 0
        self.delay = 0
        self._next: _Session | None = None
        # Its descriptions are those of all that follow.
        self._first = self._session = _Session(plan, muxer, audio, audio_config)
        self.streams = self._first.streams

    def encode(self, frame: DecodedFrame) -> Iterator[Packet[Any]]:
        """The packets that are ready after a frame, which begins a group of pictures where its `begins` is set.

        Raises:
            SceneError: encoding fails.
        """
        if frame.begins and self._next is not None:
            yield from self.finish()
            if self._session is not self._first:
                self._session.close()
            self._session, self._next = self._next, None
        self._inside += 1
        try:
            packets = list(self._session.codec.encode(frame))
        except av.FFmpegError as error:
            raise SceneError(f"encoding failed: {reason(error)}.") from None
        self._inside -= len(packets)
        self.delay = max(self.delay, self._inside)
        yield from packets

    def finish(self) -> Iterator[Packet[Any]]:
        """The rest."""
        for packet in self._session.codec.finish(lambda: None):
            self._inside -= 1
            yield packet

    def set_bitrate(self, kilobits: int) -> None:
        """From the next group of pictures on, in kbit/s; from any thread.

        An encoder of the same settings but for the rate goes on, whose pictures are decoded with the same parameter
        sets. Encoders' own ways of changing theirs are for few kinds of rate control.

        Raises:
            UsageError: the run has no bitrate, or its encoder could not be told from another one by a decoder.
        """
        if self._plan.settings.bitrate is None:
            raise UsageError("the bitrate can be changed only where a run began with one.")
        if self.delay:
            raise UsageError("the bitrate cannot be changed while the encoder holds frames back.")
        own = self._plan.encoder.header_args(self._first.parameter_sets)
        arguments = ":".join(filter(None, [own, self._plan.settings.encoder_args]))
        settings = replace(self._plan.settings, bitrate=kilobits, encoder_args=arguments)
        following = _Session(replace(self._plan, settings=settings), self._muxer, None, b"")
        if following.parameter_sets != self._first.parameter_sets:
            following.close()
            raise UsageError(f"{self._plan.encoder.name} would need other headers for another bitrate.")
        replaced, self._next = self._next, following
        if replaced is not None:
            replaced.close()

    def close(self) -> None:
        """Leaves nothing behind."""
        for session in {self._first, self._session, self._next} - {None}:
            assert session is not None
            session.close()


class _Session:
    """An encoder in a container of its own, which is never read: a muxer decides where parameter sets are."""

    def __init__(self, plan: EncodePlan, muxer: str, audio: Stream | None, audio_config: bytes) -> None:
        self._encoder = plan.encoder
        self._scratch = av.open(io.BytesIO(), "w", format=muxer)
        try:
            if muxer in plan.encoder.unheld_by:
                raise ValueError
            self.codec = CodecSession(self._scratch, replace(plan, is_part=True))
        except ValueError:
            raise UsageError(f"{muxer} cannot hold {plan.encoder.name} video; choose another `codec`.") from None
        self.streams: list[Stream] = [self.codec.stream]
        if audio is not None:
            try:
                copy = add_copy(self._scratch, audio)
                if audio_config:
                    copy.codec_context.extradata = audio_config
                self.streams.append(copy)
            except (ValueError, av.FFmpegError):
                raise UsageError(
                    f"{muxer} cannot hold sound in {audio.codec_context.name}; send AAC, or use `no_audio`."
                ) from None
        self.codec.start(None)
        # Only a header that is written has the encoder's parameters in the descriptions.
        self._scratch.start_encoding()

    @property
    def parameter_sets(self) -> bytes:
        # Their messages name the settings, the bitrate too.
        whole = bytes(self.codec.stream.codec_context.extradata or b"")
        return self._encoder.without_messages(whole) if whole else b""

    def close(self) -> None:
        self.codec.close()
        self._scratch.close()
