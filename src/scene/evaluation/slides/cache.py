"""Slides on disk, beside the measured points and found like them: by the hash of all that they depend on."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scene.errors import SceneError
from scene.evaluation.cache import PointCache
from scene.evaluation.slides.slide import Pane, Slide
from scene.files import write_atomically

_FORMAT = 1


def load_slide(cache: PointCache, key: Mapping[str, Any]) -> Slide | None:
    """The slide under this key, or None if there is none that can be used."""
    try:
        entry = json.loads(_path(cache, key).read_bytes())
        if entry["format"] != _FORMAT or entry["key"] != dict(key):
            return None
        fields = entry["slide"]
        panes = tuple(_read_pane(pane) for pane in fields.pop("panes"))
        left, top, width, height = map(int, fields.pop("crop"))
        return Slide(**fields, crop=(left, top, width, height), panes=panes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Absent, cut short or of another version: drawn again and replaced.
        return None


def store_slide(cache: PointCache, key: Mapping[str, Any], slide: Slide) -> None:
    """Writes a slide, atomically.

    Raises:
        SceneError: the folder cannot be written to.
    """
    path = _path(cache, key)
    panes = [
        {
            "label": pane.label,
            "caption": pane.caption,
            "image": base64.b64encode(pane.image).decode("ascii"),
            "crop": base64.b64encode(pane.crop).decode("ascii"),
        }
        for pane in slide.panes
    ]
    entry = {"format": _FORMAT, "key": dict(key), "slide": {**asdict(slide), "panes": panes}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(entry) + "\n")
    except OSError as error:
        raise SceneError(f"{path} cannot be written ({error.strerror}); give another folder with --cache") from error


def _read_pane(fields: Mapping[str, str]) -> Pane:
    image, crop = (base64.b64decode(fields[name], validate=True) for name in ("image", "crop"))
    return Pane(fields["label"], fields["caption"], image, crop)


def _path(cache: PointCache, key: Mapping[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
    return cache.folder / name[:2] / f"{name}.slide"
