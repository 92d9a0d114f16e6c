"""What `scene map` does: the map of a video or of photographs, over the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from scene.errors import InputError, SceneError, UsageError
from scene.files import PendingFile, write_atomically
from scene.importance.maps import ImportanceMaps, open_importance
from scene.options import LOOK_EVERY
from scene.picture import Picture, PictureFormat, Plane
from scene.progress import OnProgress, Progress, silent
from scene.video.encoding.regions import MaskWriter
from scene.video.source.decode import DecodedFrame, Decoder
from scene.video.source.open import require_readable
from scene.video.source.probe import probe

PHOTOGRAPHS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
# How much of a picture shows through.
_PICTURE_SHARE = 0.55

Colours = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class MapRequest:
    """A video or a photograph whose map is wanted.

    Attributes:
        source: a video, or a photograph by its suffix (`PHOTOGRAPHS`).
        out: folder for the files; made if need be.
        semantics: a semantic encoder, see `scene.model.semantics.load_encoder`; None for the shipped one.
        interval: frames between two looks of the encoder within a shot; 0 for one a shot.
        every: frames from one picture to the next; a second by default.
        device: "auto", "cpu" or "cuda".

    Raises:
        UsageError: a count below 1.
    """

    source: Path
    out: Path
    semantics: str | None = None
    interval: int = LOOK_EVERY
    every: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise UsageError("`every` must be at least 1.")


def draw_map(request: MapRequest, on_progress: OnProgress = silent) -> tuple[Path, ...]:
    """Writes the map over the picture as JPEG, of a video every so often, and the map itself as a picture or video.

    The video, `NAME.map.mkv`, is one of masks: lossless, grey, of the source's size and time stamps.

    Returns:
        The files, the map first.

    Raises:
        UsageError, InputError, MissingError: the source or the encoder is missing or damaged.
        SceneError: the folder cannot be written to.
    """
    require_readable(request.source)
    maps = open_importance(request.semantics, device=request.device, interval=request.interval)
    try:
        request.out.mkdir(parents=True, exist_ok=True)
        if request.source.suffix.lower() in PHOTOGRAPHS:
            return _of_photograph(request, maps)
        return _of_video(request, maps, on_progress)
    except OSError as error:
        raise SceneError(f"{request.out} cannot be written to ({error.strerror}); give another with `out`.") from error


def over_picture(colours: Colours, importance: Plane) -> Colours:
    """A picture, (H, W, 3) in blue, green and red, under its map, from blue (0) to red (255)."""
    height, width = colours.shape[:2]
    full = cv2.resize(importance, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    heat = cv2.applyColorMap(full, cv2.COLORMAP_TURBO)
    return cast(Colours, cv2.addWeighted(colours, _PICTURE_SHARE, heat, 1 - _PICTURE_SHARE, 0))


def _of_photograph(request: MapRequest, maps: ImportanceMaps) -> tuple[Path, ...]:
    colours = cv2.imdecode(np.fromfile(request.source, np.uint8), cv2.IMREAD_COLOR)
    if colours is None:
        raise InputError(f"{request.source} cannot be read as a photograph.")
    height, width = colours.shape[:2]
    fmt = PictureFormat(width, height, chroma="444", full_range=True, matrix="rgb")
    blue, green, red = (np.ascontiguousarray(colours[:, :, channel], np.uint8) for channel in range(3))
    found = maps.next(Picture(fmt, (green, blue, red)))
    files = [request.out / f"{request.source.stem}{end}" for end in (".map.png", ".over.jpg")]
    full = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)
    for path, picture in zip(files, (full, over_picture(cast(Colours, colours), found)), strict=True):
        _write(path, picture)
    return tuple(files)


def _of_video(request: MapRequest, maps: ImportanceMaps, on_progress: OnProgress) -> tuple[Path, ...]:
    info = probe(request.source)
    every = request.every or max(1, round(info.rate))
    files = [request.out / f"{request.source.stem}.map.mkv"]
    with PendingFile(files[0]) as pending, Decoder(info, writable=False) as decoder:
        with MaskWriter(pending.path, info) as writer:
            frames = 0
            for unit in decoder.units():
                if unit.frame is None:
                    continue
                found = maps.next(unit.frame.picture())
                writer.write(found, unit.frame.pts)
                if frames % every == 0:
                    files.append(request.out / f"{request.source.stem}.{frames:06d}.jpg")
                    _write(files[-1], over_picture(_colours(unit.frame), found))
                frames += 1
                on_progress(Progress(frames, None if info.frames is None else max(info.frames, frames)))
            writer.finish()
        pending.publish(overwrite=True)
    return tuple(files)


def _colours(frame: DecodedFrame) -> Colours:
    return cast(Colours, frame.av_frame.to_ndarray(format="bgr24"))


def _write(path: Path, picture: npt.NDArray[np.generic]) -> None:
    _, content = cv2.imencode(path.suffix, np.ascontiguousarray(picture))
    write_atomically(path, content.tobytes())
