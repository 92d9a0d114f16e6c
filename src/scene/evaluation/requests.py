"""What can be asked of an evaluation and of a comparison of files; without torch or PyAV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from scene.errors import UsageError
from scene.video.encoders.x264 import X264
from scene.video.encoders.x265 import X265

DEFAULT_MODELS = ("none", "contrast", "unsharp", "asconvsr", "scene", "scene-lite")
DEFAULT_CODECS = (X264.name, X265.name)


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """An evaluation: clips x methods x codecs x CRFs, and what they are compared with.

    What is None is the protocol's where there is one, else the default.

    Attributes:
        clips: video files; raw ones are named as `scene.measure.raw_names` says.
        protocol: a TOML file, see `scene.evaluation.grid.protocol`.
        data: folder with the protocol's clips, in the place of `clips`.
        models: methods by name, see `scene.evaluation.grid.methods.parse_method` and `scene.evaluation.tuning`;
            `none` is always among them. Default: `DEFAULT_MODELS`.
        filters: further methods, `NAME=PROGRAM ARGUMENTS`.
        against: a second anchor, by label.
        codecs: names; `DEFAULT_CODECS`.
        crf, crf_by_codec: CRFs of every codec, and of single ones, which go before; the codec's own ladder.
        preset, preset_by_codec: the same for the encoder's preset.
        frames: measure only the first so many of each clip.
        halve_above: halve clips of more lines than this in both directions first.
        regions: a folder of masks, one for each clip; see `scene.measure.regions.open_masks`.
        strength: share of a network's change that is applied.
        device: where networks run.
        jobs: points measured side by side; the number of cores.
        ray: None to measure on this machine, else see `scene.evaluation.grid.grid.measure_grid`.
        cache: folder of measured points; see `scene.files.default_cache_folder`.
        ffmpeg: the program, with libvmaf; see `scene.video.ffmpeg.find_ffmpeg`.
        out: folder for the files; None writes none and makes no side-by-side pictures.
        command: what repeats it, for the files; may be empty.

    Raises:
        UsageError: a count below 1.
    """

    clips: tuple[Path, ...] = ()
    protocol: Path | None = None
    data: Path | None = None
    models: tuple[str, ...] | None = None
    filters: tuple[str, ...] = ()
    against: str | None = None
    codecs: tuple[str, ...] | None = None
    crf: tuple[float, ...] | None = None
    crf_by_codec: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    preset: str | None = None
    preset_by_codec: Mapping[str, str] = field(default_factory=dict)
    frames: int | None = None
    halve_above: int | None = None
    regions: Path | None = None
    strength: float = 1.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    jobs: int | None = None
    ray: str | None = None
    cache: Path | None = None
    ffmpeg: Path | None = None
    out: Path | None = None
    command: str = ""

    def __post_init__(self) -> None:
        _check_counts(frames=self.frames, halve_above=self.halve_above, jobs=self.jobs)


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """Files to be measured against the source that they were made of.

    Attributes:
        reference: the unprocessed source.
        distorted: encodes of it, of its size; at least one.
        frames: compare only the first so many.
        side_by_side: whether to draw the frame where the files differ most.
        jobs: files compared side by side; the number of cores.
        ffmpeg: see `EvaluationRequest`.
        command: see `EvaluationRequest`.

    Raises:
        UsageError: no file to compare, or a count below 1.
    """

    reference: Path
    distorted: tuple[Path, ...]
    frames: int | None = None
    side_by_side: bool = False
    jobs: int | None = None
    ffmpeg: Path | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if not self.distorted:
            raise UsageError("give at least one file to compare with the reference.")
        _check_counts(frames=self.frames, jobs=self.jobs)


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UsageError(f"`{name}` must be at least 1.")
