"""The sections of a training run: frozen dataclasses that refuse impossible values."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from scene.metrics.loss_metrics import LOSS_METRICS, MS_SSIM_SIDE
from scene.metrics.vmaf import NEG_GAIN_LIMIT, VMAF_GAIN_LIMIT
from scene.model import NetworkConfig
from scene.model.controls import Control
from scene.proxy.blocks import BLOCK, BLOCKS
from scene.training.config.checks import convert, require
from scene.training.data.frames import Layout

RateUnit = Literal["bits_per_pixel", "relative"]
Precision = Literal["float32", "bfloat16"]
Objective = Literal["weighted", "saving"]
Positive = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Weight = Annotated[float, Meta(ge=0)]


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
        require(sizes, "blocks", self.blocks, f"must be sizes among {', '.join(map(str, BLOCKS))}")
        flat = self.tables == "flat"
        jpeg = self.blocks == (BLOCK,)
        require(flat or jpeg, "blocks", self.blocks, f"needs tables = 'flat': JPEG's are for blocks of {BLOCK}")
        require(0 < self.steps[0] <= self.steps[1], "steps", self.steps, "must be positive and in order")
        single = self.frames == 1
        require(flat or single, "frames", self.frames, "needs tables = 'flat': residuals have no others")

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
            require(name in LOSS_METRICS, name, self.weights[name], known)
        weights = {name: float(self.weights.get(name, metric.weight)) for name, metric in LOSS_METRICS.items()}
        object.__setattr__(self, "weights", weights)
        some = self.objective != "saving" or any(weights.values())
        names = ", ".join(LOSS_METRICS)
        require(some, "objective", self.objective, f"needs a weight above 0 for one of {names}")

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
        require(even, "size", self.size, "must be two even numbers of at least 176, which MS-SSIM needs")
        require(max(self.size) >= 216, "size", self.size, "must have a side of at least 216, which VMAF v1 needs")
        require(len(set(self.crf)) == len(self.crf), "crf", self.crf, "must be different numbers")


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
        for name in SECTIONS:
            # What a file says was checked as it was read; a section made in Python is checked here.
            section = getattr(self, name)
            convert(dataclasses.asdict(section), type(section), name)
        crop, loss, proxy, validation = self.data.crop, self.loss, self.proxy, self.validation
        needed = [(MS_SSIM_SIDE, "structure")] if loss.structure > 0 else []
        needed += [(LOSS_METRICS[name].above, f"the saving in {name}") for name in loss.saving_metrics]
        for above, what in needed:
            require(crop > above, "crop", crop, f"must be above {above} where {what} has a weight", "data")
        saving = loss.objective == "saving"
        one_size = proxy.blocks == (BLOCK,)
        require(saving or one_size, "blocks", proxy.blocks, "needs objective = 'saving' in [loss]", "proxy")
        moving = saving and self.network.planes == "luma"
        rule = "needs objective = 'saving' in [loss] and planes = 'luma' in [network]"
        require(moving or proxy.frames == 1, "frames", proxy.frames, rule, "proxy")
        quantiser = self.network.quantiser
        rule = f"must be what steps in [proxy] says, {list(proxy.steps)}"
        require(quantiser in (None, proxy.steps), "quantiser", quantiser, rule, "network")
        every = validation.encode_every
        rule = f"must be a multiple of validate_every = {self.run.validate_every}"
        require(every % self.run.validate_every == 0, "encode_every", every, rule, "validation")

    @property
    def crop_side(self) -> int:
        """Side of the crops that are read: of the window, and what it needs to move."""
        return self.data.crop + self.proxy.margin


SECTIONS: dict[str, Any] = typing.get_type_hints(TrainingConfig)
