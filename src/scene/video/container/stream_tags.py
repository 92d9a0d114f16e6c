"""Languages, titles, dispositions and other tags of streams, as far as an output's container has room for them."""

from __future__ import annotations

import logging
from pathlib import Path

from av.stream import Disposition, Stream

from scene.video.container.digest import codec_name
from scene.video.container.formats import Container
from scene.video.container.languages import container_language

log = logging.getLogger(__name__)

# Tags that describe the source's file rather than its content, and would be untrue of the output.
_FILE_TAGS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "number_of_frames"}
    | {"number_of_bytes", "bps", "rotate", "vendor_id", "software"}
)
# What each container says in its own way, or what nobody would miss.
_TACIT = frozenset({"language", "title", "name", "handler_name", "creation_time", "filename", "mimetype"})
_SELF_EVIDENT = Disposition.default | Disposition.attached_pic | Disposition.timed_thumbnails


def copy_tags(source: Stream, target: Stream, container: Container, path: Path, without: str = "") -> None:
    """Gives a stream another one's language, title and other tags, and its disposition; warns of what is lost.

    Args:
        path: of the source, for messages.
        without: the key of a tag to leave out.
    """
    tags = {key: value for key, value in content_tags(source.metadata).items() if key.lower() != without}
    # What mp4 and mov call a track's name is its title elsewhere.
    if "name" in tags:
        tags.setdefault("title", tags.pop("name"))
    lost = []
    language = tags.get("language", "und")
    if language != "und":
        written = container_language(language, container.muxer)
        if written is None:
            del tags["language"]
            lost.append(f"language {language}")
        else:
            tags["language"] = written
            if "-" in language and written != language:
                lost.append(f"language {language} (kept as {written})")
    if not container.track_tags and "title" in tags:
        lost.append(f"title {tags['title']!r}")
    if container.tags is not None:
        kept = _TACIT | (container.tags & {"timecode"})
        lost += [f"tag {key}" for key in sorted(tags) if key.lower() not in kept]
    # The default one is chosen by place where a container has no flag for it.
    names = [d.name or "" for d in Disposition if d & source.disposition and d not in _SELF_EVIDENT]
    lost += [f"disposition {name}" for name in names if name not in container.dispositions]
    if lost:
        log.warning("%s: %s loses in %s files its %s.", path, describe(source), container.name, ", ".join(lost))
    target.metadata.update(tags)
    target.disposition = source.disposition


def content_tags(metadata: dict[str, str]) -> dict[str, str]:
    """The tags that are still true when a file is written anew."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower().split("-")[0] not in _FILE_TAGS and not key.startswith("_STATISTICS")
    }


def describe(stream: Stream) -> str:
    """A stream's name in messages, for example "stream 1 (aac audio)"."""
    return f"stream {stream.index} ({codec_name(stream)} {stream.type})"
