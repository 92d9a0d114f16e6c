"""Everything that an encode does before its first frame, in a private folder: what it would refuse is refused here."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scene.jobs.encode import CheckedRequest, EncodeRequest
from scene.video.container.tags import describe
from scene.video.container.writer import Writer
from scene.video.source.open import open_input


@dataclass(frozen=True, slots=True)
class Streams:
    """What becomes of a source's streams beside its video, each in words such as "stream 2 (ass subtitle)".

    Attributes:
        copied: as they are.
        converted: to another form of subtitles.
        unheld: left out, since the container cannot hold them.
        unwanted: left out, since the request does not name them.
    """

    copied: tuple[str, ...]
    converted: tuple[str, ...]
    unheld: tuple[str, ...]
    unwanted: tuple[str, ...]


def rehearse(request: EncodeRequest, checked: CheckedRequest) -> Streams:
    """Opens the encoder and the container of an encode, and closes them again.

    Raises:
        UsageError: the container cannot hold the codec or a stream, or the encoder refuses its settings.
        SceneError: there is no room for temporary files.
    """
    wanted = checked.chosen.copied
    with (
        tempfile.TemporaryDirectory(prefix="scene-rehearsal-", ignore_cleanup_errors=True) as folder,
        open_input(request.source, network=request.allow_network) as source,
    ):
        writer = Writer(
            Path(folder) / f"output{request.destination.suffix}",
            *(checked.container, source, checked.plan, "", wanted),
            tolerant=request.skip_damage,
        )
        try:
            writer.start()
        finally:
            writer.abort()
        others = [stream for stream in source.streams if stream.index != checked.plan.info.stream_index]
        lost = writer.left_out | writer.converted
        return Streams(
            copied=tuple(describe(s) for s in others if s.index in wanted and s.index not in lost),
            converted=tuple(describe(s) for s in others if s.index in writer.converted),
            unheld=tuple(describe(s) for s in others if s.index in writer.left_out),
            unwanted=tuple(describe(s) for s in others if s.index not in wanted),
        )


@contextmanager
def without_warnings() -> Iterator[None]:
    """Around what another step of the same work says again, or has said."""
    logger = logging.getLogger("scene.video")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
