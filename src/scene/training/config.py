"""A training run as a TOML file: frozen dataclasses that refuse unknown keys and impossible values."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from scene.errors import InputError, UsageError
from scene.metrics.loss_metrics import LOSS_METRICS, MS_SSIM_SIDE
from scene.metrics.vmaf import NEG_GAIN_LIMIT, VMAF_GAIN_LIMIT
from scene.model import NetworkConfig
from scene.model.controls import Control
from scene.proxy.blocks import BLOCK, BLOCKS
from scene.training.data.frames import Layout

RateUnit = Literal["bits_per_pixel", "relative"]
Precision = Literal["float32", "bfloat16"]
Objective = Literal["weighted", "saving"]
Positive = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Weight = Annotated[float, Meta(ge=0)]
Section = TypeVar("Section")


class ConfigError(UsageError):
    """A value that cannot be, with where it belongs.

    Attributes:
        key: whose value it is; the message does not repeat it.
        section: that holds the key, "" where the section itself raises this.
    """

    def __init__(self, key: str, value: object, rule: str, section: str = "") -> None:
        super().__init__(f"{key} = {value!r} {rule}")
        self.key = key
        self.section = section


def _require(condition: bool, key: str, value: object, rule: str, section: str = "") -> None:
    if not condition:
        raise ConfigError(key, list(value) if isinstance(value, tuple) else value, rule, section)


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
    crop: Annotated[int, Meta(ge=64, multiple_of=16)] = 256
    pan: Annotated[int, Meta(ge=0, le=64)] = 12
    workers: Annotated[int, Meta(ge=0, le=64)] = 0


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
    frames: Annotated[int, Meta(ge=1, le=16)] = 1
    shift: Annotated[int, Meta(ge=0, le=64, multiple_of=2)] = 4
    inter_rounding: Annotated[float, Meta(gt=0, le=0.5)] = 1 / 6
    inter_step: Annotated[float, Meta(gt=0, le=8)] = 1.25
    blocks: tuple[int, ...] = (BLOCK,)

    def __post_init__(self) -> None:
        sizes = len(self.blocks) > 0 and all(block in BLOCKS for block in self.blocks)
        _require(sizes, "blocks", self.blocks, f"must be sizes among {', '.join(map(str, BLOCKS))}")
        flat = self.tables == "flat"
        jpeg = self.blocks == (BLOCK,)
        _require(flat or jpeg, "blocks", self.blocks, f"needs tables = 'flat': JPEG's are for blocks of {BLOCK}")
        _require(0 < self.steps[0] <= self.steps[1], "steps", self.steps, "must be positive and in order")
        single = self.frames == 1
        _require(flat or single, "frames", self.frames, "needs tables = 'flat': residuals have no others")

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
        weights: of the metrics in "saving", by name, each a key of its own in the file; see
            `scene.metrics.loss_metrics`, whose own weights stand where none is given. A metric without a weight is not
            computed. PSNR can only lose; a small weight keeps brightness and gain, which the others hardly see, from
            drifting.
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

    perceptual: Weight = 1e-2
    bitrate: Weight = 1.0
    before: Weight = 5.0
    after: Weight = 1.0
    structure: Weight = 0.0
    rate_unit: RateUnit = "bits_per_pixel"
    gain_limits: Annotated[
        tuple[Annotated[float, Meta(ge=NEG_GAIN_LIMIT, le=VMAF_GAIN_LIMIT)], ...], Meta(min_length=1)
    ] = (VMAF_GAIN_LIMIT,)
    gradient_cap: Annotated[float, Meta(ge=1)] = 2.0
    objective: Objective = "weighted"
    weights: Mapping[str, Weight] = field(default_factory=dict)
    bound: Annotated[float, Meta(gt=0)] = 0.5

    def __post_init__(self) -> None:
        for name in self.weights:
            known = f"is of no metric; known: {', '.join(LOSS_METRICS)}"
            _require(name in LOSS_METRICS, name, self.weights[name], known)
        weights = {name: float(self.weights.get(name, metric.weight)) for name, metric in LOSS_METRICS.items()}
        object.__setattr__(self, "weights", weights)
        some = self.objective != "saving" or any(weights.values())
        names = ", ".join(LOSS_METRICS)
        _require(some, "objective", self.objective, f"needs a weight above 0 for one of {names}")

    @property
    def saving_metrics(self) -> tuple[str, ...]:
        """Metrics whose savings count, in order; none with the objective "weighted"."""
        if self.objective == "weighted":
            return ()
        return tuple(name for name, weight in self.weights.items() if weight > 0)


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """Schedule-free AdamW (paper section 3.2, reference 19).

    Attributes:
        learning_rate: constant after warm-up.
        warmup_steps: steps of linear warm-up.
        weight_decay: decoupled, as in AdamW.
        gradient_norm: largest norm of a step's gradient, over all weights; longer ones are scaled down. 0 for any.
    """

    learning_rate: Annotated[float, Meta(gt=0, lt=1)] = 1e-3
    warmup_steps: Whole = 50
    weight_decay: Weight = 0.0
    gradient_norm: Weight = 0.0


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

    encode_every: Whole = 0
    clips: Positive = 6
    frames: Annotated[int, Meta(ge=2)] = 12
    size: tuple[int, int] = (384, 256)
    crf: Annotated[tuple[Annotated[float, Meta(ge=0, le=51)], ...], Meta(min_length=4)] = (22.0, 27.0, 32.0, 37.0)
    metrics: Annotated[tuple[Literal["vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim"], ...], Meta(min_length=1)] = (
        "vmaf",
        "vmaf_neg",
        "ms_ssim",
    )

    def __post_init__(self) -> None:
        even = all(side >= 176 and side % 2 == 0 for side in self.size)
        _require(even, "size", self.size, "must be two even numbers of at least 176, which MS-SSIM needs")
        _require(max(self.size) >= 216, "size", self.size, "must have a side of at least 216, which VMAF v1 needs")
        _require(len(set(self.crf)) == len(self.crf), "crf", self.crf, "must be different numbers")


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

    steps: Positive = 1000
    epochs: Whole = 0
    batch: Positive = 8
    precision: Precision = "float32"
    seed: Whole = 0
    validate_every: Positive = 200


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
        for name in _SECTIONS:
            # What a file says was checked as it was read; a section made in Python is checked here.
            section = getattr(self, name)
            _convert(dataclasses.asdict(section), type(section), name)
        crop, loss, proxy, validation = self.data.crop, self.loss, self.proxy, self.validation
        needed = [(MS_SSIM_SIDE, "structure")] if loss.structure > 0 else []
        needed += [(LOSS_METRICS[name].above, f"the saving in {name}") for name in loss.saving_metrics]
        for above, what in needed:
            _require(crop > above, "crop", crop, f"must be above {above} where {what} has a weight", "data")
        saving = loss.objective == "saving"
        one_size = proxy.blocks == (BLOCK,)
        _require(saving or one_size, "blocks", proxy.blocks, "needs objective = 'saving' in [loss]", "proxy")
        moving = saving and self.network.planes == "luma"
        rule = "needs objective = 'saving' in [loss] and planes = 'luma' in [network]"
        _require(moving or proxy.frames == 1, "frames", proxy.frames, rule, "proxy")
        quantiser = self.network.quantiser
        rule = f"must be what steps in [proxy] says, {list(proxy.steps)}"
        _require(quantiser in (None, proxy.steps), "quantiser", quantiser, rule, "network")
        every = validation.encode_every
        rule = f"must be a multiple of validate_every = {self.run.validate_every}"
        _require(every % self.run.validate_every == 0, "encode_every", every, rule, "validation")

    @property
    def crop_side(self) -> int:
        """Side of the crops that are read: of the window, and what it needs to move."""
        return self.data.crop + self.proxy.margin


_SECTIONS: dict[str, Any] = typing.get_type_hints(TrainingConfig)


def read_config(path: Path, settings: Sequence[str] = ()) -> TrainingConfig:
    """Reads and checks a training file.

    Args:
        path: TOML, one table for each section.
        settings: `section.key=value` in place of what the file says, the value as TOML or a bare word; the last of one
            key counts, and of `run.steps` and `run.epochs` too.

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
            if (section, key) == ("run", "steps"):
                # The later word wins: the file's epochs would go before the number that was just asked for.
                table["epochs"] = 0
    built: dict[str, Any] = {}
    try:
        for name, table in tables.items():
            if name not in _SECTIONS or not isinstance(table, dict):
                message = f"no section [{name}]; known: {', '.join(_SECTIONS)}"
                raise UsageError(f"{_place(path, text, None, name)}: {message}")
            built[name] = _read_section(_SECTIONS[name], name, table)
        return TrainingConfig(**built)
    except ConfigError as error:
        raise UsageError(f"{_place(path, text, error.section, error.key)}: {error}") from error


def config_as_dict(config: TrainingConfig) -> dict[str, Any]:
    """The configuration as plain dictionaries, as a file has it, for records and logs."""
    sections = dataclasses.asdict(config)
    sections["loss"] |= sections["loss"].pop("weights")
    return sections


def _read_section(section: type[Section], name: str, table: Mapping[str, Any]) -> Section:
    """A section from its table; a loss metric's weight is a key like any other in the file."""
    weighed = LOSS_METRICS if section is LossConfig else {}
    known = [*(f.name for f in dataclasses.fields(section) if f.name != "weights"), *weighed]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise ConfigError(key, table[key], f"is no key of [{name}]; known: {', '.join(known)}", name)
    values = {key: value for key, value in table.items() if key not in weighed}
    weights = {key: value for key, value in table.items() if key in weighed}
    if weights:
        # With fields by name, so that a refusal says which.
        fields = [(key, Weight) for key in weights]
        values["weights"] = msgspec.to_builtins(_convert(weights, msgspec.defstruct("Weights", fields), name))
    return _convert(values, section, name)


_REFUSAL = re.compile(r"(.*?)(?: - at `\$\.?(\w*).*`)?", re.DOTALL)


def _convert(values: Mapping[str, Any], section: type[Section], name: str) -> Section:
    """Types and bounds by msgspec, which names the field by its path: ``Expected `int` >= 1 - at `$.batch```."""
    try:
        return msgspec.convert(values, section)
    except msgspec.ValidationError as error:
        found = _REFUSAL.fullmatch(str(error))
        rule, key = found.groups(default="") if found else (str(error), "")
        raise ConfigError(key, values.get(key), _in_words(rule, section, key), name) from error
    except ConfigError as error:
        error.section = error.section or name
        raise
    except UsageError as error:
        # The network's own checks are no rules of types: a value that they refuse is refused among defaults too.
        key = next((key for key, value in values.items() if _refuses(section, {key: value})), "")
        value = values.get(key)
        raise ConfigError(key, value, str(error).removeprefix(f"{key} = {value!r} "), name) from error


def _refuses(section: type[Section], values: Mapping[str, Any]) -> bool:
    try:
        section(**values)
    except UsageError:
        return True
    return False


def _in_words(rule: str, section: type[Any], key: str) -> str:
    """Msgspec's rule behind "key = value"; it does not say which words may stand where one of several must."""
    choices = _choices(typing.get_type_hints(section).get(key))
    if rule.startswith("Invalid enum value") and choices:
        return f"must be one of {', '.join(map(str, choices))}"
    # Backticks are for fields of requests.
    return f"must be {rule.removeprefix('Expected ')}".replace("`", "")


def _choices(hint: Any) -> list[Any]:
    """The values of the literals in a type."""
    parts = list(typing.get_args(hint))
    return parts if typing.get_origin(hint) is Literal else [value for part in parts for value in _choices(part)]


def _parse_setting(text: str) -> tuple[str, str, Any]:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise UsageError(f"`set` {text!r} must be SECTION.KEY=VALUE, for example run.batch=4")
    try:
        return section, key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return section, key, value.strip()


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
