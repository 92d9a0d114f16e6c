"""Streams of an output that are copies of a source's, and which containers take which."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.stream import Stream

from scene.video.container.digest import codec_name, is_unknown, kind_of
from scene.video.container.formats import CONTAINERS, Container

# How FFmpeg names layouts without speakers.
_GUESSED_LAYOUTS = {"1 channels": "mono", "2 channels": "stereo"}
# Matroska has a way for every codec that has a number in AVI and WAV (A_MS/ACM, V_MS/VFW/FOURCC); FFmpeg's muxer takes
# it, but PyAV asks whether there is a name of Matroska's own.
_BY_NUMBER = "matroska"


def add_copy(output: OutputContainer, stream: Stream) -> Stream:
    """Adds a stream to an output that describes the same packets as one of a source.

    Raises:
        ValueError, av.FFmpegError: the muxer does not take it.
    """
    if stream.codec_context is None and stream.type not in {"data", "attachment"}:
        # PyAV copies no description of a codec that it has no decoder for, but a filter that changes nothing does.
        described: Stream = output.add_mux_stream(codec_name(stream))
        BitStreamFilterContext("null", stream, cast(Any, described))
        described.time_base = stream.time_base
        return described
    copy: Stream
    try:
        copy = output.add_stream_from_template(cast(Any, stream), opaque=True)
    except ValueError:
        if output.format.name != _BY_NUMBER or stream.type not in {"audio", "video"}:
            raise
        copy = _add_by_number(output, stream)
    guessed = guessed_layout(stream)
    if guessed is not None:
        cast(AudioStream, copy).codec_context.layout = guessed
    return copy


def _add_by_number(output: OutputContainer, stream: Stream) -> Stream:
    """A stream in Matroska whose codec has no name there.

    Raises:
        ValueError: it has no number either.
    """
    silence = io.BytesIO()
    with wave.open(silence, "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
        file.writeframes(bytes(2))
    silence.seek(0)
    with av.open(silence, format="wav") as template:
        copy = output.add_stream_from_template(template.streams.audio[0], opaque=True)
    BitStreamFilterContext("null", stream, cast(Any, copy))
    # The source's number may be of another container.
    copy.codec_context.codec_tag = "\0\0\0\0"
    copy.time_base = stream.time_base
    return copy


def holds(container: Container, stream: Stream) -> bool:
    """Whether a muxer takes a stream: it is asked to begin a file with it, in memory."""
    if stream.type == "attachment":
        return container.attachments
    if is_unknown(stream):
        return False
    if stream.type == "data":
        # Without a codec only its tag, which is mp4's own, tells what it is.
        foreign = codec_name(stream) == "bin_data" and "mp4" not in stream.container.format.name
        if foreign or codec_name(stream) not in container.data:
            return False
    if _is_pcm_without_speakers(stream) and container.muxer == "mp4":
        return False
    if container.codecs is not None and codec_name(stream) not in container.codecs:
        return False
    if kind_of(stream) == "cover":
        return container.covers
    trial = av.open(io.BytesIO(), "w", format=container.muxer, container_options=dict(container.options))
    try:
        add_copy(trial, stream)
        trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    finally:
        with suppress(ValueError, av.FFmpegError):
            trial.close()
    return True


def holders(streams: Sequence[Stream], holds_video: Callable[[Container], bool]) -> list[str]:
    """The suffixes of the containers that hold all of some streams, the most capable first, one for each container.

    Args:
        holds_video: whether a container holds the encoded video beside them.
    """
    usual: dict[str, str] = {}
    for suffix, container in CONTAINERS.items():
        usual.setdefault(container.name, suffix)
    # A sort keeps the order of what is equal.
    return [
        suffix
        for suffix in sorted(usual.values(), key=lambda suffix: suffix != ".mkv")
        if holds_video(CONTAINERS[suffix]) and all(holds(CONTAINERS[suffix], stream) for stream in streams)
    ]


def guessed_layout(stream: Stream) -> str | None:
    """Which speakers one or two channels are for, where the source does not say: mp4 insists on it for PCM."""
    if isinstance(stream, AudioStream) and stream.codec_context is not None:
        return _GUESSED_LAYOUTS.get(stream.codec_context.layout.name)
    return None


def _is_pcm_without_speakers(stream: Stream) -> bool:
    """Which mp4 refuses only at the end."""
    return (
        isinstance(stream, AudioStream)
        and stream.codec_context is not None
        and codec_name(stream).startswith("pcm_")
        and stream.codec_context.layout.name.endswith(" channels")
        and guessed_layout(stream) is None
    )
