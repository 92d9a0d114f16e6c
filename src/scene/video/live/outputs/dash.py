"""A DASH presentation that grows, by FFmpeg's muxer, with chunks that can be read while their segment is made."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream

from scene.errors import SceneError, UsageError
from scene.files import write_atomically
from scene.video.live.outputs.muxer import Done, Muxer
from scene.video.source.open import reason

# FFmpeg's muxer uses temporary files of its own for local names only; with any other scheme it asks for each file.
_SCHEME = "live:"


class DashOutput:
    """A manifest (.mpd) and the segments of each stream beside it; see `HlsOutput` for the arguments.

    Raises:
        UsageError: the manifest exists and `overwrite` is off.
        SceneError: nothing can be written there.
    """

    def __init__(
        self, path: Path, streams: Sequence[Stream], seconds: float, window: float, done: Done, *, overwrite: bool
    ) -> None:
        self._done = done
        if path.exists() and not overwrite:
            raise UsageError(f"{path} exists, and DASH cannot go on with it; give `overwrite` to replace it.")
        self._path = path
        self._failure: OSError | None = None
        listed = round(window / seconds) if window else 0
        options = {
            **{"ldash": "1", "streaming": "1", "use_template": "1", "use_timeline": "0", "seg_duration": f"{seconds}"},
            **{"window_size": str(listed), "extra_window_size": "5", "adaptation_sets": _sets(streams)},
            "init_seg_name": f"{path.stem}-$RepresentationID$-init.mp4",
            "media_seg_name": f"{path.stem}-$RepresentationID$-$Number%06d$.m4s",
            "target_latency": f"{seconds:g}",
            "frag_type": "every_frame",
        }
        try:
            self._muxer = Muxer(f"{_SCHEME}{path.name}", "dash", streams, options, io_open=self._open)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._error(error) from None

    def write(self, packet: Packet[Any], stream: int) -> None:
        """As `Output` has it."""
        stamp, size = packet.pts or 0, packet.size
        try:
            written = self._muxer.write(packet, stream)
        except (av.FFmpegError, OSError) as error:
            raise self._error(error) from None
        if self._failure is not None:
            raise self._error(self._failure)
        self._done(stream, stamp, size, written)

    def finish(self) -> None:
        """As `Output` has it."""
        try:
            self._muxer.close()
        except (av.FFmpegError, OSError) as error:
            raise self._error(error) from None
        if self._failure is not None:
            raise self._error(self._failure)

    def abandon(self) -> None:
        """As `Output` has it."""
        with contextlib.suppress(SceneError):
            self.finish()

    def _open(self, url: str, flags: int, options: Any) -> _Part:
        return _Part(self, self._path.with_name(url.removeprefix(_SCHEME).rpartition("/")[2]))

    def failed(self, error: OSError) -> None:
        """A part could not be written."""
        self._failure = self._failure or error

    def _error(self, error: Exception) -> SceneError:
        why = self._failure.strerror if self._failure is not None else reason(error)
        return SceneError(f"{self._path} cannot be written ({why}); what was delivered before stays.")


def _sets(streams: Sequence[Stream]) -> str:
    return " ".join(f"id={index},streams={index}" for index in range(len(streams)))


class _Part:
    """A file that FFmpeg asked for: a manifest appears whole, a segment grows under its name."""

    def __init__(self, output: DashOutput, path: Path) -> None:
        self._output = output
        self._path = path
        self._whole = path.suffix == ".mpd"
        self._data = bytearray()
        self._file: Any = None
        if not self._whole:
            try:
                self._file = path.open("wb", buffering=0)
            except OSError as error:
                output.failed(error)

    def write(self, data: bytes) -> int:
        try:
            if self._whole:
                self._data += data
            elif self._file is not None:
                self._file.write(data)
        except OSError as error:
            self._output.failed(error)
        return len(data)

    def close(self) -> None:
        try:
            if self._whole:
                write_atomically(self._path, bytes(self._data))
            elif self._file is not None:
                self._file.close()
        except OSError as error:
            self._output.failed(error)
