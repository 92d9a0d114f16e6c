"""Slides on disk, beside the measured points and found like them: by the hash of all that they depend on."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from scene.evaluation.visuals.view import Pane, Slide
from scene.measure.cache import PointCache

_FORMAT = "slide 1"
_SUFFIX = ".slide"


def load_slide(cache: PointCache, key: Mapping[str, Any]) -> Slide | None:
    """The slide under this key, or None if there is none that can be used."""
    return cache.load_record(key, _FORMAT, _read_slide, _SUFFIX)


def store_slide(cache: PointCache, key: Mapping[str, Any], slide: Slide) -> None:
    """Writes a slide, atomically.

    Raises:
        SceneError: the folder cannot be written to.
    """
    panes = [
        {
            "label": pane.label,
            "caption": pane.caption,
            "image": base64.b64encode(pane.image).decode("ascii"),
            "crop": base64.b64encode(pane.crop).decode("ascii"),
        }
        for pane in slide.panes
    ]
    cache.store_record(key, _FORMAT, {**asdict(slide), "panes": panes}, _SUFFIX)


def _read_slide(record: Mapping[str, Any]) -> Slide:
    fields = dict(record)
    panes = tuple(_read_pane(pane) for pane in fields.pop("panes"))
    left, top, width, height = map(int, fields.pop("crop"))
    return Slide(**fields, crop=(left, top, width, height), panes=panes)


def _read_pane(fields: Mapping[str, str]) -> Pane:
    image, crop = (base64.b64decode(fields[name], validate=True) for name in ("image", "crop"))
    return Pane(fields["label"], fields["caption"], image, crop)
