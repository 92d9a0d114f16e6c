"""The tags of a file: the source's own, and one that says what made the pictures."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from scene.video.container.formats import Container
from scene.video.container.stream_tags import content_tags

log = logging.getLogger(__name__)

# Containers with free keys have one for it.
_KEY = "SCENE"
_LINE = re.compile(r"^scene \d+\.\d+\S*; model .*$\n?", re.MULTILINE)
# What a transport stream's description of a programme has room for, in bytes.
_PROVIDER_BYTES = 200


def file_tags(source: dict[str, str], container: Container, made_with: str, path: Path) -> dict[str, str]:
    """The global tags of an output; a warning names those of the source that are lost.

    Matroska and WebM get a tag of its own, SCENE. mp4 and mov know a closed list of keys, so there it is the last line
    of the comment. Transport streams have no tags but the names of a programme and its provider: it is the latter.
    What an earlier run has written is replaced.

    Args:
        made_with: "scene VERSION; model ...", on one line.
    """
    tags = {key: value for key, value in content_tags(source).items() if key.upper() != _KEY}
    # FFmpeg reads tags of mp4 that have a language twice, as "location" and as "location-eng".
    tags = {key: value for key, value in tags.items() if tags.get(key.rpartition("-")[0]) != value}
    comment = next((key for key in tags if key.lower() == "comment"), "comment")
    own = _LINE.sub("", tags.pop(comment, "")).strip("\n")
    if own:
        tags[comment] = own
    if container.tags is not None:
        lost = sorted(key for key in tags if key.lower() not in container.tags)
        if lost:
            log.warning("%s: %s files cannot hold its tags %s.", path, container.name, ", ".join(lost))
            tags = {key: value for key, value in tags.items() if key not in lost}
    if container.tags is None:
        tags[_KEY] = made_with
    elif "comment" in container.tags:
        tags[comment] = f"{own}\n{made_with}".lstrip("\n")
    else:
        tags["service_provider"] = made_with.encode()[:_PROVIDER_BYTES].decode("utf-8", "ignore")
    return tags
