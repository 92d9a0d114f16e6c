"""Measured points on disk, by content: one small JSON file each, found by the hash of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scene.errors import SceneError
from scene.files import write_atomically
from scene.metrics.libvmaf import Scores

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What encoding and comparing gave for one point.

    Attributes:
        bytes: size of the elementary stream.
        width, height, bit_depth: of the pictures that were encoded.
        scores: against the reference.
    """

    bytes: int
    width: int
    height: int
    bit_depth: int
    scores: Scores


class PointCache:
    """A folder of measurements. Several processes may share it: entries are only ever replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: Mapping[str, Any]) -> Measurement | None:
        """The measurement under this key, or None if there is none that can be used."""
        try:
            entry = json.loads(self._path(key).read_bytes())
            if entry["format"] != _FORMAT or entry["key"] != dict(key):
                return None
            measured = entry["measured"]
            scores = {name: float(value) for name, value in measured["scores"].items() if name != "frames"}
            frames = int(measured["scores"]["frames"])
            size = {name: int(measured[name]) for name in ("bytes", "width", "height", "bit_depth")}
            return Measurement(scores=Scores(frames=frames, **scores), **size)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Absent, cut short or of another version: measured again and replaced.
            return None

    def store(self, key: Mapping[str, Any], measurement: Measurement) -> None:
        """Writes an entry, atomically.

        Raises:
            SceneError: the folder cannot be written to.
        """
        path = self._path(key)
        entry = {"format": _FORMAT, "key": dict(key), "measured": asdict(measurement)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(entry, indent=1) + "\n")
        except OSError as error:
            raise SceneError(
                f"{path} cannot be written ({error.strerror}); give another folder with --cache"
            ) from error

    def _path(self, key: Mapping[str, Any]) -> Path:
        name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.json"


def default_cache_folder() -> Path:
    """$XDG_CACHE_HOME/scene, or ~/.cache/scene."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification ignores relative paths.
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "scene"
