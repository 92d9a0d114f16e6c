"""Whether enhancement pays for some frames: trial encodes of their middle with it and without, judged by libvmaf."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np

from scene.errors import InputError, MissingError, SceneError
from scene.measure.libvmaf import LEAST_SIDES, parse_means, probe_arguments, probe_graph
from scene.metrics.rate_saving import Reading, Saving, judge
from scene.picture import Picture, PictureFormat, Plane
from scene.video.encoders import ENCODERS
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.trial import Trial, check_part, try_encode
from scene.video.ffmpeg import FFmpeg, ProcessError, find_ffmpeg, input_name
from scene.video.rawvideo.y4m import Y4MHeader, write_frame, write_header
from scene.video.source.probe import SourceInfo

# The window's longer and shorter side at most.
_LONG, _SHORT = 640, 360
# Where a row is no multiple of eight macroblocks, x264's lookahead depends on what is left in memory: the same pictures
# then have another rate each time, by up to 3 %. Below two such rows nothing is cut off: libvmaf needs the width.
_ROW = 128
# All three look at luma only, and none is easily pleased by contrast alone.
_METRICS = ("vmaf_neg", "vmaf_v1", "ms_ssim")
_PREFIX = "scene-guard-"
_NEEDED = (
    "`guard` needs an ffmpeg program whose libvmaf has the model of VMAF v1: install imageio-ffmpeg or name one in "
    "$SCENE_FFMPEG"
)


class ShotProbe:
    """Encodes a window of some frames as the whole video will be encoded, and tells whether enhancement pays there.

    The encoder is the video's own with all its settings, the preset too, on one thread.

    Args:
        ffmpeg: of `find_probing_ffmpeg`.
        settings: of the video.
        info: of its source.

    Attributes:
        metrics: that can be measured on pictures of this size; none on small ones, which cannot be probed.

    Raises:
        UsageError: encoder parameters with which no part of a video can be encoded by itself.
    """

    def __init__(self, ffmpeg: FFmpeg, settings: EncoderSettings, info: SourceInfo) -> None:
        check_part(settings)
        codec = ENCODERS[settings.codec]
        crf = codec.default_crf if settings.crf is None else settings.crf
        step = codec.next_rate_step
        self._ffmpeg = ffmpeg
        self._settings = replace(settings, crf=crf)
        self._beside = replace(settings, crf=crf + step if crf + step <= codec.max_crf else crf - step)
        self._info = info
        self._window = window_of(info.format)
        side = min(part.stop - part.start for part in self._window)
        self.metrics = tuple(name for name in _METRICS if side >= LEAST_SIDES[name])

    def __call__(self, plain: Sequence[Picture], enhanced: Sequence[Picture], stamps: Sequence[int]) -> Saving:
        """The verdict on frames of one shot.

        Args:
            plain, enhanced: whole pictures, as many of both.
            stamps: when each is shown, in the source's time base.

        Raises:
            SceneError: an encoder or libvmaf failed.
            OSError: there is no room for temporary files.
        """
        sources, changed = ([crop(picture, self._window) for picture in pictures] for pictures in (plain, enhanced))
        trials = [
            try_encode(pictures, stamps, settings, self._info)
            for pictures, settings in (
                (changed, self._settings),
                (sources, self._settings),
                (sources, self._beside),
            )
        ]
        return judge(*self._compare([picture.planes[0] for picture in sources], trials))

    def _compare(self, reference: Sequence[Plane], trials: Sequence[Trial]) -> list[Reading]:
        depth = self._info.format.bit_depth
        with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            pictures = [folder / f"{index}.y4m" for index in range(len(trials))]
            logs = [folder / f"{index}.json" for index in range(len(trials))]
            for path, trial in zip(pictures, trials, strict=True):
                _write_lumas(path, trial.lumas, trial.bit_depth)
            _write_lumas(folder / "reference.y4m", reference, depth)
            arguments = probe_arguments(
                [input_name(path) for path in pictures],
                input_name(folder / "reference.y4m"),
                probe_graph(logs, self.metrics),
            )
            self._ffmpeg.run(arguments)
            try:
                scores = [parse_means(log.read_bytes(), self.metrics) for log in logs]
            except FileNotFoundError:
                # libvmaf can fail while ffmpeg ends with 0.
                raise SceneError("libvmaf gave no scores") from None
        return [Reading(trial.bytes, score) for trial, score in zip(trials, scores, strict=True)]


def window_of(fmt: PictureFormat) -> tuple[slice, slice]:
    """Rows and columns of the middle of a picture, at most 640x360 or 360x640.

    Offsets and sides are even, and the width is a multiple of 128 from 256 upwards.
    """
    tallest, widest = (_SHORT, _LONG) if fmt.width >= fmt.height else (_LONG, _SHORT)
    height, width = min(fmt.height - fmt.height % 2, tallest), min(fmt.width - fmt.width % 2, widest)
    if width >= 2 * _ROW:
        width -= width % _ROW
    top, left = (fmt.height - height) // 4 * 2, (fmt.width - width) // 4 * 2
    return slice(top, top + height), slice(left, left + width)


def crop(picture: Picture, window: tuple[slice, slice]) -> Picture:
    """The part of a picture, of even size at even offsets, in luma samples; its planes alias the picture's."""
    fmt = picture.format
    rows, columns = window
    small = replace(fmt, width=columns.stop - columns.start, height=rows.stop - rows.start)
    planes = []
    for index, plane in enumerate(picture.planes):
        down = 2 if index and fmt.chroma == "420" else 1
        across = 2 if index and fmt.chroma in {"420", "422"} else 1
        part = plane[rows.start // down : rows.stop // down, columns.start // across : columns.stop // across]
        planes.append(part)
    return Picture(small, tuple(planes))


def find_probing_ffmpeg() -> FFmpeg:
    """The ffmpeg program, after it has compared two pictures with every metric of the guard.

    Raises:
        MissingError: there is none, or it cannot do that.
    """
    try:
        ffmpeg = find_ffmpeg()
    except MissingError as error:
        raise MissingError(_NEEDED) from error
    try:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
            picture, log = Path(name) / "trial.y4m", Path(name) / "trial.json"
            _write_lumas(picture, [np.full((256, 256), 128, np.uint8)] * 2, 8)
            ffmpeg.run(probe_arguments([input_name(picture)], input_name(picture), probe_graph([log], _METRICS)))
            parse_means(log.read_bytes(), _METRICS)
    except (ProcessError, FileNotFoundError, InputError) as error:
        raise MissingError(f"{_NEEDED} ({ffmpeg.path} has not)") from error
    return ffmpeg


def _write_lumas(path: Path, lumas: Sequence[Plane], bit_depth: int) -> None:
    """Luma as YUV4MPEG2 of 8 or 10 bit with neutral chroma.

    Codes stay what they are in full range too, under the tag of limited range: both sides of a comparison are treated
    alike, and ffmpeg has no reason to convert one of them.
    """
    depth = 8 if bit_depth == 8 else 10
    height, width = lumas[0].shape
    fmt = PictureFormat(width, height, depth)
    neutral = np.full(fmt.plane_shapes[1], 1 << (depth - 1), lumas[0].dtype)
    with path.open("wb") as stream:
        write_header(stream, Y4MHeader(fmt, Fraction(25)))
        for luma in lumas:
            write_frame(stream, Picture(fmt, (_at_depth(luma, bit_depth, depth), neutral, neutral)))


def _at_depth(plane: Plane, bit_depth: int, wanted: int) -> Plane:
    deeper = wanted - bit_depth
    return cast(Plane, plane << deeper if deeper > 0 else plane >> -deeper)
