"""What there is to measure on a GPU, in which order, and how each variant is measured."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from scene.benchmarks.gpu.ceilings import MEMORY, PRODUCT, ceiling_variants, matrix_product, memory_copy, transfer
from scene.benchmarks.gpu.enhancer import PLAIN, TEMPORAL, bench_enhancer, enhancer_precisions
from scene.benchmarks.gpu.forms import (
    CHANNELS_LAST,
    COMPILED,
    EAGER,
    GRAPH,
    Subject,
    count,
    forms_of,
    furthest,
    open_form,
    open_subject,
)
from scene.benchmarks.gpu.record import Figures, LeftOut, Outcome, Variant
from scene.benchmarks.gpu.siglip import SO400M, bench_siglip2_shape
from scene.benchmarks.gpu.timing import DTYPES, Arithmetic, arithmetic, time_on, why_not
from scene.benchmarks.made_clip import made_pictures
from scene.errors import SceneError
from scene.model import Network
from scene.options import RuntimeName
from scene.picture import Picture

_BATCHES = (1, 4)
# Of the clip that the whole enhancement takes for a shot.
_FRAMES = 24
# In 8-bit codes; further from the reference a result is no rounding.
_FURTHEST = 1
_TRAINING = "AsConvSR of the paper"
# Batch and crop as in the paper, and what a CPU does in seconds.
_PATCHES = {"cuda": (128, 256), "cpu": (2, 64)}
_STEPS = {"cuda": 30, "cpu": 2}
_LONGEST_REASON = 200


class Bench:
    """Measures variants.

    Args:
        device: where.
        networks: by identity.
        data: of training, or None.
        done: outcomes so far, which it reads for the ceilings and for the faster layout.
    """

    def __init__(
        self,
        device: torch.device,
        networks: Mapping[str, Network],
        data: Path | None,
        done: Mapping[Variant, Outcome],
    ) -> None:
        self._device = device
        self._networks = networks
        self._data = data
        self._done = done
        # Made once for the variants of one size that follow each other, and for those of one network there.
        self._clip: tuple[str, list[Picture]] = "", []
        self._subject: tuple[tuple[str, str], Subject] | None = None

    def plan(self, sizes: Sequence[tuple[int, int]]) -> list[Variant]:
        """All variants.

        CUDA graphs come late: after one that could not be captured torch may have no random numbers on the GPU. What
        must be compiled comes last, since each variant may take a minute.
        """
        plan = ceiling_variants()
        late: dict[str, list[Variant]] = {GRAPH: [], COMPILED: []}
        for name in (f"{width}x{height}" for width, height in sizes):
            for model, network in self._networks.items():
                for batch, precision, form in itertools.product(_BATCHES, DTYPES, forms_of(network)):
                    variant = Variant("network", model, name, batch, precision, form)
                    late.get(form, plan).append(variant)
            for model, network in self._networks.items():
                for precision, form in itertools.product(enhancer_precisions(network), (PLAIN, TEMPORAL)):
                    plan.append(Variant("enhancer", model, name, 1, precision, form))
            plan.append(Variant("semantics", SO400M, name))
        if self._data is not None:
            batch, crop = _PATCHES[self._device.type]
            plan += [Variant("training", _TRAINING, f"{crop}x{crop}", batch, name) for name in ("float32", "bfloat16")]
        return [*plan, *late[GRAPH], *late[COMPILED]]

    def outcome(self, variant: Variant) -> Outcome:
        """Measures one."""
        try:
            figures = self._measure(variant)
        except LeftOut as reason:
            return Outcome(variant, "left out", str(reason), {})
        # Whatever torch, its compiler, the driver or a missing package may raise: the others go on.
        except Exception as error:
            return Outcome(variant, "failed", _one_line(error), {})
        # Numbers that are none are not within it either.
        if "furthest" in figures and not figures["furthest"] <= _FURTHEST:
            return Outcome(variant, "wrong", *_complaint(figures))
        return Outcome(variant, "measured", "", figures)

    def settle(self, out: Path) -> None:
        """Frees the GPU's memory for the next variant.

        Raises:
            SceneError: nothing can be measured any more: some faults of a GPU end with the process alone.
        """
        if self._device.type != "cuda":
            return
        try:
            # What an error's traceback holds is in cycles.
            gc.collect()
            torch.cuda.empty_cache()
            torch.zeros(1, device=self._device).add(1).item()
        except RuntimeError as error:
            raise SceneError(
                f"the GPU has stopped working ({_one_line(error)}); {out} holds what was measured, and the same command"
                " goes on behind what failed."
            ) from error

    def _measure(self, variant: Variant) -> Figures:
        device = self._device
        if variant.part == "ceiling":
            return self._ceiling(variant)
        if variant.part == "network":
            return self._network(variant)
        if variant.part == "enhancer":
            network, pictures = self._networks[variant.what], self._pictures(variant.size)
            runtime: RuntimeName = "torch-bf16" if variant.precision == "bfloat16" else "torch"
            return bench_enhancer(network, pictures, device.type, runtime=runtime, form=variant.form)
        if variant.part == "semantics":
            if device.type != "cuda":
                raise LeftOut("is measured on a GPU only; a CPU takes seconds for one picture")
            return bench_siglip2_shape(self._pictures(variant.size)[0], device)
        return self._training(variant)

    def _ceiling(self, variant: Variant) -> Figures:
        if variant.what == MEMORY:
            return memory_copy(self._device)
        if variant.what == PRODUCT:
            return matrix_product(self._device, self._arithmetic(variant))
        if self._device.type != "cuda":
            raise LeftOut("needs a GPU")
        return transfer(self._device, variant.what, variant.form)

    def _arithmetic(self, variant: Variant) -> Arithmetic:
        name = next(name for name in DTYPES if name == variant.precision)
        if reason := why_not(name, self._device):
            raise LeftOut(reason)
        return name

    def _network(self, variant: Variant) -> Figures:
        name = self._arithmetic(variant)
        with arithmetic(tf32=False):
            subject = self._opened(variant)
        x = subject.pictures[: variant.batch]
        channels_last = self._faster_layout(variant) == CHANNELS_LAST
        with arithmetic(name == "tf32"):
            module, run, making = open_form(subject, variant.form, DTYPES[name], x, channels_last=channels_last)
            with torch.inference_mode():
                difference = furthest(subject, run())
                timing = time_on(self._device, run)
            flops, moved = (amount / variant.batch for amount in count(module, x))
        ms = timing.ms / variant.batch
        figures = {
            "ms": ms,
            "repeats": timing.repeats,
            "flops": flops,
            "bytes": moved,
            "furthest": difference,
            **making,
        }
        for amount, ceiling, figure in (
            (flops, Variant("ceiling", PRODUCT, precision=name), "flops_per_s"),
            (moved, Variant("ceiling", MEMORY), "bytes_per_s"),
        ):
            measured = self._done[ceiling].figures if ceiling in self._done else {}
            if figure in measured:
                figures[figure.replace("per_s", "share")] = amount / ms * 1000 / measured[figure]
        return figures

    def _faster_layout(self, variant: Variant) -> str:
        """Of the two that were measured with these numbers; the usual one where they were not."""
        ms = {}
        for form in (EAGER, CHANNELS_LAST):
            same = Variant("network", variant.what, variant.size, variant.batch, variant.precision, form)
            if same in self._done and self._done[same].state == "measured":
                ms[form] = self._done[same].figures["ms"]
        return min(ms, key=lambda form: ms[form], default=EAGER)

    def _opened(self, variant: Variant) -> Subject:
        key = variant.what, variant.size
        if self._subject is None or self._subject[0] != key:
            # Two at once would take twice the memory.
            self._subject = None
            pictures = self._pictures(variant.size)[: max(_BATCHES)]
            self._subject = key, open_subject(self._networks[variant.what], pictures, self._device)
        return self._subject[1]

    def _pictures(self, size: str) -> list[Picture]:
        if self._clip[0] != size:
            width, height = map(int, size.split("x"))
            self._clip = size, list(made_pictures(width, height, _FRAMES))
        return self._clip[1]

    def _training(self, variant: Variant) -> Figures:
        assert self._data is not None
        # These need packages that nothing else here does.
        from scene.benchmarks.training import bench_training
        from scene.model import NetworkConfig
        from scene.training import TrainingConfig
        from scene.training.config import DataConfig, RunConfig

        kind = self._device.type
        batch, crop = _PATCHES[kind]
        precision: Literal["float32", "bfloat16"] = "bfloat16" if variant.precision == "bfloat16" else "float32"
        workers = min(8, (os.cpu_count() or 1) - 1) if kind == "cuda" else 0
        config = TrainingConfig(
            network=NetworkConfig(guidance="features"),
            data=DataConfig(crop=crop, workers=workers),
            run=RunConfig(batch=batch, precision=precision),
        )
        result = bench_training(config, self._data, steps=_STEPS[kind], device=kind)
        return {
            "ms": 1000 * result.step_s,
            "repeats": result.steps,
            "patches_per_s": result.patches_per_second,
            "loader_per_s": result.loader.samples_per_second,
            "convolutions_per_s": result.limit.patches_per_second,
        }


def _complaint(figures: Figures) -> tuple[str, Figures]:
    """Why a result is wrong, and its figures but for numbers that are none, which JSON does not have."""
    furthest = figures["furthest"]
    if furthest != furthest:
        return "gives numbers that are none", {name: number for name, number in figures.items() if name != "furthest"}
    return f"is up to {furthest:g} codes from the reference", figures


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
