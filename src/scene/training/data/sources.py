"""Opening a data set: photographs, videos, or Vimeo-90K, as sequences of frames."""

from __future__ import annotations

import logging
from pathlib import Path

from scene.errors import InputError
from scene.training.data.frames import FrameSource, Layout, Part
from scene.training.data.images import ImageSource, list_images
from scene.training.data.videos import VideoSource
from scene.training.data.vimeo import SEPTUPLETS, TRIPLETS, VimeoSource

_LOG = logging.getLogger("scene.training")


def open_source(folder: Path, layout: Layout, *, part: Part = "all") -> FrameSource:
    """Opens a data set.

    Args:
        folder: where it is; below it are
            for "auto", any of the following, by the lists' names, and otherwise whether there are photographs;
            for "images", photographs, each a sequence of one frame;
            for "videos", video files, each giving short windows of consecutive frames;
            for "vimeo-septuplet", `sep_trainlist.txt` and `sequences/00001/0001/im1.png` to `im7.png`;
            for "vimeo-triplet", `tri_trainlist.txt` and `sequences/00001/0001/im1.png` to `im3.png`.
        layout: which of these it is.
        part: "train" and "held-out" split it 9:1 without overlap, "all" takes everything. Whole files are split, and
            Vimeo-90K by its top-level folders; see `scene.training.data.frames.in_part` and `VimeoSource`.

    Raises:
        InputError: the folder does not hold what the layout says, or nothing usable of the part.
        MissingError: a package that reads the layout is not installed.
    """
    found = _detect_layout(folder) if layout == "auto" else layout
    if found == "images":
        return ImageSource(folder, part)
    if found == "videos":
        return VideoSource(folder, part)
    return VimeoSource(folder, SEPTUPLETS if found == "vimeo-septuplet" else TRIPLETS, part)


def _detect_layout(folder: Path) -> Layout:
    if (folder / SEPTUPLETS.train_list).exists():
        return "vimeo-septuplet"
    if (folder / TRIPLETS.train_list).exists():
        return "vimeo-triplet"
    try:
        list_images(folder)
    except InputError:
        return "videos" if folder.is_dir() else "images"
    return "images"


def open_sources(data: Path, validation: Path | None, layout: Layout) -> tuple[FrameSource, FrameSource | None]:
    """What to train on and what to validate on.

    Args:
        data: see `open_source`.
        validation: held-out material in the same layout; without it `data` itself is split 9:1.
        layout: of both.

    Returns:
        The two sources; nothing to validate on where `data` is too small to be split, which is logged.

    Raises:
        InputError, MissingError: see `open_source`.
    """
    if validation is not None:
        return open_source(data, layout), open_source(validation, layout)
    try:
        return open_source(data, layout, part="train"), open_source(data, layout, part="held-out")
    except InputError:
        whole = open_source(data, layout)
        _LOG.warning("%s is too small to hold a tenth of it out: nothing is validated", data)
        return whole, None
