"""What was measured, on disk and by content: small JSON files, found by the hash of all that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from scene.errors import SceneError
from scene.files import write_atomically
from scene.metrics.regions import RegionScores
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
        regions: scores inside and outside a mask, where there is one.
    """

    bytes: int
    width: int
    height: int
    bit_depth: int
    scores: Scores
    frames: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    encode_seconds: float = field(default=0.0, compare=False)
    compare_seconds: float = field(default=0.0, compare=False)
    regions: RegionScores | None = None


class PointCache:
    """A folder of measurements. Several processes may share it: entries are only ever replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: Mapping[str, Any]) -> Measurement | None:
        """The measurement under this key, or None if there is none that can be used."""
        found = self.load_record(key, _FORMAT, Measurement)
        # An entry that lacks a metric's frames is of a version that had no such metric.
        return found if found is not None and found.frames.keys() >= set(FRAME_METRICS) else None

    def store(self, key: Mapping[str, Any], measurement: Measurement) -> None:
        """Writes a measurement, atomically.

        Raises:
            SceneError: the folder cannot be written to.
        """
        self.store_record(key, _FORMAT, measurement)

    def load_record(self, key: Mapping[str, Any], form: int | str, kind: type[T], suffix: str = ".json") -> T | None:
        """An entry of any kind, or None if there is none that can be used.

        Args:
            form: the kind and version of the entry.
            kind: a dataclass or msgspec.Struct, of which the record is made; bytes are Base64 in it.
            suffix: of the entry's file.
        """
        try:
            entry = json.loads(self._path(key, suffix).read_bytes())
            if entry["format"] != form or entry["key"] != dict(key):
                return None
            return msgspec.convert(entry["measured"], kind)
        except (OSError, ValueError, KeyError, TypeError):
            # Absent, cut short or of another version: measured again and replaced.
            return None

    def store_record(self, key: Mapping[str, Any], form: int | str, record: Any, suffix: str = ".json") -> None:
        """Writes an entry, a dataclass or msgspec.Struct; errors as for `store`."""
        path = self._path(key, suffix)
        entry = {"format": form, "key": dict(key), "measured": msgspec.to_builtins(record)}
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
