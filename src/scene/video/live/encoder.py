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
    return replace(
        settings,
        preset=settings.preset or encoder.live_preset,
        encoder_args=":".join(filter(None, [encoder.live_args, settings.encoder_args])),
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
        self._inside = 0
        self.delay = 0
        self._scratch = av.open(io.BytesIO(), "w", format=muxer)
        try:
            if muxer in plan.encoder.unheld_by:
                raise ValueError
            self._session = CodecSession(self._scratch, replace(plan, is_part=True))
        except ValueError:
            raise UsageError(f"{muxer} cannot hold {plan.encoder.name} video; choose another `codec`.") from None
        self.streams: list[Stream] = [self._session.stream]
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
        self._session.start(None)
        # Only a header that is written has the encoder's parameters in the descriptions.
        self._scratch.start_encoding()

    def encode(self, frame: DecodedFrame) -> Iterator[Packet[Any]]:
        """The packets that are ready after a frame, which begins a group of pictures where its `begins` is set.

        Raises:
            SceneError: encoding fails.
        """
        self._inside += 1
        try:
            packets = list(self._session.encode(frame))
        except av.FFmpegError as error:
            raise SceneError(f"encoding failed: {reason(error)}.") from None
        self._inside -= len(packets)
        self.delay = max(self.delay, self._inside)
        yield from packets

    def finish(self) -> Iterator[Packet[Any]]:
        """The rest."""
        yield from self._session.finish(lambda: None)

    @property
    def can_change_bitrate(self) -> bool:
        """Whether `set_bitrate` has an effect."""
        return self._plan.settings.bitrate is not None and self._plan.encoder.changes_bitrate

    def set_bitrate(self, kilobits: int) -> None:
        """From the next frame on, in kbit/s; between two frames."""
        self._session.stream.codec_context.bit_rate = kilobits * 1000

    def close(self) -> None:
        """Leaves nothing behind."""
        self._session.close()
        self._scratch.close()
