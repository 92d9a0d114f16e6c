"""A training run as a TOML file: frozen dataclasses that refuse unknown keys and impossible values."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scene.errors import InputError, UsageError
from scene.metrics.vmaf import NEG_GAIN_LIMIT, VMAF_GAIN_LIMIT
from scene.model import NetworkConfig
from scene.model.controls import Control
from scene.proxy.blocks import BLOCK, BLOCKS
from scene.training.data.frames import Layout

# MS-SSIM halves a picture four times and then needs more than its window of 11.
MS_SSIM_SIDE = 160

RateUnit = Literal["bits_per_pixel", "relative"]
Precision = Literal["float32", "bfloat16"]
Objective = Literal["weighted", "saving"]
SavingMetric = Literal["vmaf", "vmaf_neg", "ms_ssim", "psnr"]
_SAVING_METRICS: tuple[SavingMetric, ...] = typing.get_args(SavingMetric)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Crops of photographs or video frames.

    Attributes:
        layout: how the folder is laid out; see `scene.training.data.sources.open_source`.
        crop: side of the square crops in pixels (paper: 256); with several frames, of the window that moves.
        pan: largest shift, in pixels along each axis, between a crop and the neighbour that VMAF's motion is
            measured against, where the source has no neighbouring frame.
        workers: processes that load data, 0 to load in the training process.
    """

    layout: Layout = "auto"
    crop: int = 256
    pan: int = 12
    workers: int = 0

    def __post_init__(self) -> None:
        _require(self.crop >= 64 and self.crop % 16 == 0, f"crop = {self.crop} must be a multiple of 16, at least 64")
        _require(0 <= self.pan <= 64, f"pan = {self.pan} must be from 0 to 64")
        _require(0 <= self.workers <= 64, f"workers = {self.workers} must be from 0 to 64")


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """The codec proxy; see `scene.proxy.JpegProxy` and, for several frames, `scene.proxy.SequenceProxy`.

    Attributes:
        tables, rounding, smoothing: as there.
        steps: smallest and largest quantiser step, drawn log-uniformly for each sample.
        frames: coded one after the other, windows that move over a crop; 1 is the paper's proxy.
        shift: largest way of a window, in pixels along each axis and an even number, from one frame to the next. Even
            numbers up to it are drawn for each sample.
        inter_rounding, inter_step: as in `SequenceProxy`, for all frames but the first.
        blocks: as in `SequenceProxy`; the objective "weighted" has the paper's proxy, with blocks of 8.
    """

    tables: Literal["jpeg", "flat"] = "jpeg"
    rounding: float = 0.5
    smoothing: float = 1.0
    steps: tuple[float, float] = (6.0, 60.0)
    frames: int = 1
    shift: int = 4
    inter_rounding: float = 1 / 6
    inter_step: float = 1.25
    blocks: tuple[int, ...] = (BLOCK,)

    def __post_init__(self) -> None:
        _require(
            len(self.blocks) > 0 and all(block in BLOCKS for block in self.blocks),
            f"blocks = {list(self.blocks)} must be sizes among {', '.join(map(str, BLOCKS))}",
        )
        _require(
            self.tables == "flat" or self.blocks == (BLOCK,),
            f"blocks = {list(self.blocks)} needs tables = 'flat': JPEG's are for blocks of {BLOCK}",
        )
        _require(0 < self.steps[0] <= self.steps[1], f"steps = {list(self.steps)} must be positive and in order")
        _require(1 <= self.frames <= 16, f"frames = {self.frames} must be from 1 to 16")
        _require(
            0 <= self.shift <= 64 and self.shift % 2 == 0, f"shift = {self.shift} must be an even number from 0 to 64"
        )
        _require(
            0 < self.inter_rounding <= 0.5, f"inter_rounding = {self.inter_rounding} must be above 0 and at most 0.5"
        )
        _require(0 < self.inter_step <= 8, f"inter_step = {self.inter_step} must be above 0 and at most 8")
        _require(
            self.frames == 1 or self.tables == "flat",
            f"frames = {self.frames} needs tables = 'flat': residuals have no others",
        )

    @property
    def margin(self) -> int:
        """Pixels by which crops are larger than the windows that move over them."""
        return self.shift * (self.frames - 1)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights and units of the paper's Eq. 3, and of what may be added to it or take its place.

    Attributes:
        objective: "weighted" is Eq. 3. "saving", beyond the paper, is the rate saved at equal score, see
            `scene.training.rate_saving`; of Eq. 3 only the terms `before` and `after` are then added.
        vmaf, vmaf_neg, ms_ssim, psnr: weights of the metrics in "saving"; one without a weight is not computed. PSNR
            can only lose; a small weight keeps brightness and gain, which the others hardly see, from drifting.
        bound: of a metric's saving, as the log of a rate; the nearer a saving comes to it, the less more of it counts.
        perceptual: lambda_p, for VMAF points below the bound.
        bitrate: lambda_b, for the rate in `rate_unit`.
        before: lambda_1, for the L1 distance of enhanced and source frame, pixels in [0, 1].
        after: lambda_2, for the L1 distance of decoded and source frame.
        structure: weight, beyond the paper, of the mean log(1 - MS-SSIM) of decoded and source luma. One minus MS-SSIM
            falls about as fast as the rate grows, so its log asks for the same saving at every quantiser.
        rate_unit: "bits_per_pixel" (of the luma plane, calibrated), or "relative": the logarithm of the rate over
            that of the unprocessed crop at the same step, which asks for the same saving at every quantiser.
        gain_limits: enhancement gain limits, 100 for VMAF, 1 for VMAF_NEG; the samples of a batch take them in turn.
        gradient_cap: a sample's gradient of the perceptual term is scaled down to this multiple of the batch's
            median norm, since flat crops give gradients far above the others.
    """

    perceptual: float = 1e-2
    bitrate: float = 1.0
    before: float = 5.0
    after: float = 1.0
    structure: float = 0.0
    rate_unit: RateUnit = "bits_per_pixel"
    gain_limits: tuple[float, ...] = (VMAF_GAIN_LIMIT,)
    gradient_cap: float = 2.0
    objective: Objective = "weighted"
    vmaf: float = 0.3
    vmaf_neg: float = 1.0
    ms_ssim: float = 1.0
    psnr: float = 0.0
    bound: float = 0.5

    def __post_init__(self) -> None:
        for name in ("perceptual", "bitrate", "before", "after", "structure", *_SAVING_METRICS):
            _require(getattr(self, name) >= 0, f"{name} = {getattr(self, name)} must not be negative")
        _require(
            len(self.gain_limits) > 0 and all(NEG_GAIN_LIMIT <= g <= VMAF_GAIN_LIMIT for g in self.gain_limits),
            f"gain_limits = {list(self.gain_limits)} must be numbers from 1 (VMAF_NEG) to 100 (VMAF)",
        )
        _require(self.gradient_cap >= 1, f"gradient_cap = {self.gradient_cap} must be at least 1")
        _require(self.bound > 0, f"bound = {self.bound} must be above 0")
        _require(
            self.objective != "saving" or len(self.saving_metrics) > 0,
            f"objective = {self.objective!r} needs a weight above 0 for one of {', '.join(_SAVING_METRICS)}",
        )

    @property
    def saving_metrics(self) -> tuple[SavingMetric, ...]:
        """Metrics whose savings count, in order; none with the objective "weighted"."""
        if self.objective == "weighted":
            return ()
        return tuple(name for name in _SAVING_METRICS if getattr(self, name) > 0)


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """Schedule-free AdamW (paper section 3.2, reference 19).

    Attributes:
        learning_rate: constant after warm-up.
        warmup_steps: steps of linear warm-up.
        weight_decay: decoupled, as in AdamW.
        gradient_norm: largest norm of a step's gradient, over all weights; longer ones are scaled down. 0 for any.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.0
    gradient_norm: float = 0.0

    def __post_init__(self) -> None:
        _require(0 < self.learning_rate < 1, f"learning_rate = {self.learning_rate} must be above 0 and below 1")
        _require(self.warmup_steps >= 0, f"warmup_steps = {self.warmup_steps} must not be negative")
        _require(self.weight_decay >= 0, f"weight_decay = {self.weight_decay} must not be negative")
        _require(self.gradient_norm >= 0, f"gradient_norm = {self.gradient_norm} must not be negative")


@dataclass(frozen=True, slots=True)
class SemanticsConfig:
    """What conditions the first block where `network.guidance` is "embedding"; ignored where it is "features".

    Attributes:
        encoder: see `scene.model.load_encoder`: a shipped student's name, a student's file, or a SigLIP 2 checkpoint
            by local folder or hub id.
        control: the encoder's own embedding, or one of the controls of `scene.model.controls`.
    """

    encoder: str = "google/siglip2-so400m-patch14-384"
    control: Control = "embedding"


@dataclass(frozen=True, slots=True)
class ValidationConfig:
    """Validation by a real encoder: held-out photographs, panned into short clips, through x264.

    Attributes:
        encode_every: steps between these validations, 0 for never; the best weights are then chosen by them.
        clips: photographs used, evenly spread over the sorted names.
        frames: of each clip.
        size: width and height of the clips.
        crf: constant rate factors of x264.
        metrics: whose BD-rates are averaged into the figure that chooses the best weights.
    """

    encode_every: int = 0
    clips: int = 6
    frames: int = 12
    size: tuple[int, int] = (384, 256)
    crf: tuple[float, ...] = (22.0, 27.0, 32.0, 37.0)
    metrics: tuple[Literal["vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim"], ...] = ("vmaf", "vmaf_neg", "ms_ssim")

    def __post_init__(self) -> None:
        _require(self.encode_every >= 0, f"encode_every = {self.encode_every} must not be negative")
        _require(self.clips >= 1, f"clips = {self.clips} must be at least 1")
        _require(self.frames >= 2, f"frames = {self.frames} must be at least 2")
        _require(
            all(side >= 176 and side % 2 == 0 for side in self.size),
            f"size = {list(self.size)} must be two even numbers of at least 176, which MS-SSIM needs",
        )
        _require(
            max(self.size) >= 216, f"size = {list(self.size)} must have a side of at least 216, which VMAF v1 needs"
        )
        _require(
            len(set(self.crf)) == len(self.crf) >= 4 and all(0 <= c <= 51 for c in self.crf),
            f"crf = {list(self.crf)} must be at least four different numbers from 0 to 51",
        )
        _require(len(self.metrics) > 0, f"metrics = {list(self.metrics)} must name at least one")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """How long and how often.

    Attributes:
        steps: optimiser steps in all; where `epochs` is given, that decides instead.
        epochs: passes over the sequences of the data set, or 0.
        batch: crops a step and process.
        precision: of the network's convolutions; the proxy, the scores and the weights are always float32.
        seed: of the initial weights, the crops and the quantiser steps.
        validate_every: steps between validations through the proxy; each also writes a checkpoint.
    """

    steps: int = 1000
    epochs: int = 0
    batch: int = 8
    precision: Precision = "float32"
    seed: int = 0
    validate_every: int = 200

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every"):
            _require(getattr(self, name) >= 1, f"{name} = {getattr(self, name)} must be at least 1")
        _require(self.epochs >= 0, f"epochs = {self.epochs} must not be negative")
        _require(self.seed >= 0, f"seed = {self.seed} must not be negative")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """All sections of a training file."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    data: DataConfig = field(default_factory=DataConfig)
    proxy: ProxyConfig = field(default_factory=ProxyConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    semantics: SemanticsConfig = field(default_factory=SemanticsConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        _require(
            self.loss.structure == 0 or self.data.crop > MS_SSIM_SIDE,
            f"crop = {self.data.crop} must be above {MS_SSIM_SIDE} where structure has a weight",
        )
        _require(
            "ms_ssim" not in self.loss.saving_metrics or self.data.crop > MS_SSIM_SIDE,
            f"crop = {self.data.crop} must be above {MS_SSIM_SIDE} where the saving in ms_ssim has a weight",
        )
        _require(
            self.proxy.blocks == (BLOCK,) or self.loss.objective == "saving",
            f"blocks = {list(self.proxy.blocks)} needs objective = 'saving' in [loss]",
        )
        _require(
            self.proxy.frames == 1 or (self.loss.objective == "saving" and self.network.planes == "luma"),
            f"frames = {self.proxy.frames} needs objective = 'saving' in [loss] and planes = 'luma' in [network]",
        )
        _require(
            self.network.quantiser in (None, self.proxy.steps),
            f"quantiser = {list(self.network.quantiser or ())} must be what steps in [proxy] says,"
            f" {list(self.proxy.steps)}",
        )
        _require(
            self.validation.encode_every % self.run.validate_every == 0,
            f"encode_every = {self.validation.encode_every} must be a multiple of validate_every ="
            f" {self.run.validate_every}",
        )

    @property
    def crop_side(self) -> int:
        """Side of the crops that are read: of the window, and what it needs to move."""
        return self.data.crop + self.proxy.margin


def read_config(path: Path, settings: Sequence[str] = ()) -> TrainingConfig:
    """Reads and checks a training file.

    Args:
        path: TOML, one table for each section.
        settings: `section.key=value` in place of what the file says, the value as TOML or a bare word.

    Raises:
        InputError: the file is missing or not TOML.
        UsageError: an unknown section or key, a value of the wrong type or out of range; the line is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    for setting in settings:
        section, key, value = _parse_setting(setting)
        table = tables.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
    sections = typing.get_type_hints(TrainingConfig)
    built: dict[str, Any] = {}
    for name, table in tables.items():
        if name not in sections or not isinstance(table, dict):
            raise UsageError(f"{_place(path, text, None, name)}: no section [{name}]; known: {', '.join(sections)}")
        built[name] = _build(sections[name], name, table, path, text)
    try:
        return TrainingConfig(**built)
    except UsageError as error:
        key = str(error).split(" = ")[0]
        section = next(name for name, hint in sections.items() if key in typing.get_type_hints(hint))
        raise UsageError(f"{_place(path, text, section, key)}: {error}") from error


def config_as_dict(config: TrainingConfig) -> dict[str, Any]:
    """The configuration as plain dictionaries, for records and logs."""
    return dataclasses.asdict(config)


def _build(section: type, section_name: str, table: Mapping[str, Any], path: Path, text: str) -> Any:
    hints = typing.get_type_hints(section)
    values = {}
    for key, value in table.items():
        place = _place(path, text, section_name, key)
        if key not in hints:
            raise UsageError(f"{place}: no key {key!r} in [{section_name}]; known: {', '.join(hints)}")
        values[key] = _convert(value, hints[key], f"{place}: {key}")
    try:
        return section(**values)
    except UsageError as error:
        key = str(error).split(" = ")[0]
        raise UsageError(f"{_place(path, text, section_name, key)}: {error}") from error


def _parse_setting(text: str) -> tuple[str, str, Any]:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise UsageError(f"`set` {text!r} must be SECTION.KEY=VALUE, for example run.batch=4")
    try:
        return section, key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return section, key, value.strip()


def _convert(value: Any, hint: Any, what: str) -> Any:
    """Checks a TOML value against a field's type; whole numbers pass for floats, arrays for tuples.

    TOML has no word for None: a key that may be None is left out.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _convert(value, arguments[0], what)
    if origin is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{what} must be a list")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise UsageError(f"{what} must hold {len(arguments)} numbers")
        return tuple(_convert(item, arguments[0], what) for item in value)
    if origin is Literal:
        if value not in arguments:
            raise UsageError(f"{what} must be one of {', '.join(map(str, arguments))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise UsageError(f"{what} must be of type {hint.__name__}")
    return value


def _place(path: Path, text: str, section: str | None, key: str) -> str:
    """`file:line` of a section or key, as near as a plain scan can tell."""
    inside = section is None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.split("#")[0].strip()
        if stripped.startswith("["):
            header = stripped.strip("[] ")
            if section is None and header.split(".")[0] == key:
                return f"{path}:{number}"
            inside = header == section or section is None
        elif inside and stripped.split("=")[0].strip() == key:
            return f"{path}:{number}"
    return str(path)
