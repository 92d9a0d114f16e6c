"""What was measured, on disk and by content: small JSON files, found by the hash of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from scene.errors import SceneError
from scene.files import write_atomically
from scene.metrics.scores import FRAME_METRICS, Scores

_FORMAT = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What encoding and comparing gave for one point.

    Attributes:
        bytes: size of the elementary stream.
        width, height, bit_depth: of the pictures that were encoded.
        scores: against the reference.
        frames: scores of every frame, by name of `scene.metrics.scores.FRAME_METRICS`.
        encode_seconds, compare_seconds: how long the encoder ran, and what came after it.
    """

    bytes: int
    width: int
    height: int
    bit_depth: int
    scores: Scores
    frames: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    encode_seconds: float = field(default=0.0, compare=False)
    compare_seconds: float = field(default=0.0, compare=False)


class PointCache:
    """A folder of measurements. Several processes may share it: entries are only ever replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: Mapping[str, Any]) -> Measurement | None:
        """The measurement under this key, or None if there is none that can be used."""
        return self.load_record(key, _FORMAT, read_measurement)

    def store(self, key: Mapping[str, Any], measurement: Measurement) -> None:
        """Writes a measurement, atomically.

        Raises:
            SceneError: the folder cannot be written to.
        """
        self.store_record(key, _FORMAT, measurement_record(measurement))

    def load_record(
        self, key: Mapping[str, Any], form: int | str, read: Callable[[Mapping[str, Any]], T], suffix: str = ".json"
    ) -> T | None:
        """An entry of any kind, or None if there is none that can be used.

        Args:
            form: the kind and version of the entry.
            read: makes what is wanted of the record; raises ValueError, KeyError or TypeError if it is no such record.
            suffix: of the entry's file.
        """
        try:
            entry = json.loads(self._path(key, suffix).read_bytes())
            if entry["format"] != form or entry["key"] != dict(key):
                return None
            return read(entry["measured"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Absent, cut short or of another version: measured again and replaced.
            return None

    def store_record(
        self, key: Mapping[str, Any], form: int | str, record: Mapping[str, Any], suffix: str = ".json"
    ) -> None:
        """Writes an entry of JSON types; errors as for `store`."""
        path = self._path(key, suffix)
        entry = {"format": form, "key": dict(key), "measured": dict(record)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(entry, indent=1) + "\n")
        except OSError as error:
            raise SceneError(
                f"{path} cannot be written ({error.strerror}); give another folder with `cache`"
            ) from error

    def _path(self, key: Mapping[str, Any], suffix: str) -> Path:
        name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}{suffix}"


def measurement_record(measurement: Measurement) -> dict[str, Any]:
    """A measurement as JSON types."""
    return asdict(measurement)


def read_measurement(record: Mapping[str, Any]) -> Measurement:
    """The opposite of `measurement_record`.

    Raises:
        ValueError, KeyError, TypeError: it is no such record.
    """
    given = record["scores"]
    scores: dict[str, Any] = {
        entry.name: float(given[entry.name]) for entry in fields(Scores) if entry.name != "flicker"
    }
    scores["flicker"] = None if given["flicker"] is None else float(given["flicker"])
    scores["frames"] = int(given["frames"])
    return Measurement(
        bytes=int(record["bytes"]),
        width=int(record["width"]),
        height=int(record["height"]),
        bit_depth=int(record["bit_depth"]),
        scores=Scores(**scores),
        frames={name: tuple(map(float, record["frames"][name])) for name in FRAME_METRICS},
        encode_seconds=float(record["encode_seconds"]),
        compare_seconds=float(record["compare_seconds"]),
    )


def default_cache_folder() -> Path:
    """$XDG_CACHE_HOME/scene, or ~/.cache/scene."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification ignores relative paths.
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "scene"
