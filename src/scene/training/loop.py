"""The training loop, from top to bottom (paper section 3.2)."""

from __future__ import annotations

import json
import logging
import math
import platform
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from scene import __version__
from scene.errors import MissingError, SceneError, UsageError
from scene.evaluation.cache import default_cache_folder
from scene.files import write_atomically
from scene.model import Network, Semantics, build_network, save_network
from scene.model.semantics import SemanticEncoder, load_encoder
from scene.progress import OnProgress, Progress, silent
from scene.training.config import TrainingConfig, config_as_dict
from scene.training.data import ConsecutiveBatches, Crops, Sample, collate
from scene.training.embedding_table import EmbeddingTable
from scene.training.embeddings import compute_embeddings
from scene.training.frames import FrameSource
from scene.training.judging import Judge, Judgement
from scene.training.loss import CodecLoss, LossTerms
from scene.training.processes import Processes, join_processes
from scene.training.sources import open_sources
from scene.training.state import load_state, save_state
from scene.training.steering import Steering, set_references
from scene.training.stopping import StopSignals

_LOG = logging.getLogger("scene.training")
_LOG_EVERY = 10

WEIGHTS = "last.safetensors"
BEST_WEIGHTS = "best.safetensors"
STATE = "last.state"
LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Where a finished run left its weights.

    Attributes:
        weights: after the last step.
        best: lowest validation loss, or None when nothing was validated.
        steps: optimiser steps done in all.
        seconds: time spent training, resumed parts included.
    """

    weights: Path
    best: Path | None
    steps: int
    seconds: float


def train(
    config: TrainingConfig,
    data: Path,
    out: Path,
    *,
    validation: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    on_progress: OnProgress = silent,
) -> TrainingResult:
    """Trains a network, in this process or in all that `torchrun` started.

    Writes into `out`: `last.safetensors` and, with validation, `best.safetensors` (weights for use), `last.state`
    (for resuming), `log.jsonl`, and event files that TensorBoard reads.

    SIGINT and SIGTERM are noted and acted upon after the step at hand, once a checkpoint is written.

    Args:
        config: see `scene.training.config`.
        data: folder laid out as `config.data.layout` says.
        out: folder for the results, created where it is missing.
        validation: folder of held-out material in the same layout; without it a tenth of `data` is held out.
        resume: go on from `last.state`; the result equals that of a run that never stopped.
        device: a torch device.

    Raises:
        UsageError: `out` already holds a run and `resume` is off, or the state is of another configuration.
        InputError, CheckpointError, MissingError: data, weights or packages are missing or damaged.
        SceneError: the loss is no longer finite, or a checkpoint cannot be written.
    """
    try:
        import schedulefree
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingError(f"training needs {error.name}: pip install 'scene-codec[train]'") from error
    state_path = out / STATE
    if state_path.exists() and not resume:
        raise UsageError(f"{out} already holds a training run: pass --resume to go on, or another --out")

    with ExitStack() as stack:
        # First in, last out: a signal finds its old handler only when everything else is closed.
        signals = stack.enter_context(StopSignals())
        processes = stack.enter_context(join_processes(device))
        here = processes.device
        source, held_out = open_sources(data, validation, config.data.layout)
        steps = _count_steps(config, len(source), processes.count)

        # Everything random is drawn from generators of its own, seeded by the step, so that a resumed run repeats them.
        with signals.interruptible():
            network, steering, held_out_steering, encoder = _prepare(config, source, held_out, processes, on_progress)
        loss = CodecLoss(config.loss, config.proxy, config.network.planes, processes.gather).to(here)
        optimiser = schedulefree.AdamWScheduleFree(
            network.parameters(),
            lr=config.optimiser.learning_rate,
            warmup_steps=config.optimiser.warmup_steps,
            weight_decay=config.optimiser.weight_decay,
        )
        judge = None
        if held_out is not None and processes.rank == 0:
            with signals.interruptible():
                judge = Judge(config, held_out, held_out_steering, encoder, loss, here)
        progress = _begin(config, out, network, optimiser, resume)
        first = int(progress["step"])
        batches = DataLoader(
            Crops(source, config.data.crop, config.data.pan, config.run.seed),
            batch_sampler=ConsecutiveBatches(first, steps, config.run.batch, processes.rank, processes.count),
            collate_fn=collate,
            num_workers=config.data.workers,
            persistent_workers=config.data.workers > 0,
            prefetch_factor=4 if config.data.workers > 0 else None,
            worker_init_fn=_leave_signals,
            pin_memory=here.type == "cuda",
        )
        # One process alone writes.
        writer = None
        if processes.rank == 0:
            out.mkdir(parents=True, exist_ok=True)
            if resume:
                _rewind_log(out / LOG, first)
            writer = stack.enter_context(closing(SummaryWriter(str(out), purge_step=first)))
        log = _Log(out, writer, config)
        began = time.monotonic() - float(progress["seconds"])

        def checkpoint(step: int) -> None:
            """Saves the averaged weights for use and the stepped ones for resuming; validates before where due."""
            progress["step"] = step
            progress["seconds"] = time.monotonic() - began
            if processes.rank > 0:
                return
            with _averaged_weights(network, optimiser):
                due = step == steps or step % config.run.validate_every == 0
                if judge is not None and due and int(progress["validated"]) < step:
                    with signals.interruptible():
                        reading = judge(network, step, last=step == steps)
                    log.validation(step, reading)
                    progress["validated"] = step
                    if reading.comparable and (progress["best_loss"] is None or reading.figure < progress["best_loss"]):
                        progress["best_loss"] = reading.figure
                        _write(save_network, network, out / BEST_WEIGHTS, _record(config, progress, here))
                _write(save_network, network, out / WEIGHTS, _record(config, progress, here))
            _write(save_state, state_path, network, optimiser, progress)

        network.train()
        optimiser.train()
        model = processes.wrap(network)
        done = first
        whole = True
        try:
            if resume:
                checkpoint(first)
            for step, batch in enumerate(batches, start=first):
                on_device = Sample(*(x.to(here, non_blocking=True) for x in batch))
                source_planes, motion = loss.prepare(on_device)
                embedding = steering(batch, here) if steering else None
                quantiser, limits = (_share(x, processes).to(here) for x in _draw(config, loss, step, processes.count))
                with torch.autocast(here.type, torch.bfloat16, enabled=config.run.precision == "bfloat16"):
                    enhanced = model(source_planes, embedding)
                terms = loss(source_planes, enhanced.float(), motion, quantiser, limits)
                optimiser.zero_grad(set_to_none=True)
                terms.total.backward()
                # One exchange a step: all processes learn the joint loss, and whether any of them was told to stop.
                told = torch.tensor(float(signals.received is not None), device=here)
                total, stop = processes.mean(torch.stack([terms.total.detach(), told])).tolist()
                if not math.isfinite(total):
                    raise SceneError(f"the loss is no longer finite at step {step}: lower the learning rate")
                if step % _LOG_EVERY == 0:
                    # Before the step: schedule-free overwrites gradients.
                    log.step(step, _average_terms(terms, processes), _gradient_norm(network))
                whole = False
                optimiser.step()
                done = step + 1
                whole = True
                if processes.rank == 0:
                    speed = (done - first) / max(time.monotonic() - began - float(progress["seconds"]), 1e-9)
                    on_progress(Progress(done, steps, {"loss": total, "steps/s": speed}))
                if stop or done == steps or done % config.run.validate_every == 0:
                    checkpoint(done)
                if stop:
                    break
        except SceneError:
            # The last checkpoint is better than what diverged after it.
            raise
        except BaseException:
            # An interruption: what was learned so far is kept.
            if whole and int(progress["step"]) < done:
                judge = None
                checkpoint(done)
            raise
        signals.deliver()
        processes.wait()
    best = out / BEST_WEIGHTS
    return TrainingResult(out / WEIGHTS, best if best.exists() else None, done, float(progress["seconds"]))


def _prepare(
    config: TrainingConfig,
    source: FrameSource,
    held_out: FrameSource | None,
    processes: Processes,
    on_progress: OnProgress,
) -> tuple[Network, Steering | None, Steering | None, SemanticEncoder | None]:
    """The untrained network, and what steers it on the training and on the held-out frames."""
    if config.network.guidance == "features":
        return build_network(config.network, seed=config.run.seed).to(processes.device), None, None, None
    encoder = load_encoder(config.semantics.encoder, processes.device)
    shape = replace(config.network, embedding_width=encoder.width)
    network = build_network(shape, seed=config.run.seed)
    network.semantics = Semantics(config.semantics.encoder, encoder.identity, config.semantics.control)

    def table(frames: FrameSource) -> EmbeddingTable:
        return compute_embeddings(
            frames,
            encoder,
            default_cache_folder() / "embeddings",
            spatial=shape.semantic_grid > 1,
            device=processes.device,
            on_progress=on_progress if processes.rank == 0 else silent,
        )

    # The first process computes what is missing, the others find it done.
    if processes.rank > 0:
        processes.wait()
    tables = [table(frames) for frames in (source, held_out) if frames is not None]
    if processes.rank == 0:
        processes.wait()
    set_references(network, tables[0])
    steerings = [Steering(rows, network.references, config.semantics.control, salt) for salt, rows in enumerate(tables)]
    return network.to(processes.device), steerings[0], steerings[1] if len(steerings) > 1 else None, encoder


def _count_steps(config: TrainingConfig, sequences: int, processes: int) -> int:
    if config.run.epochs == 0:
        return config.run.steps
    return math.ceil(config.run.epochs * sequences / (config.run.batch * processes))


def _begin(
    config: TrainingConfig, out: Path, network: Network, optimiser: torch.optim.Optimizer, resume: bool
) -> dict[str, Any]:
    """How far a run is: at its start, or where its state says, which is loaded."""
    recorded = json.loads(json.dumps(config_as_dict(config)))
    if not resume:
        return {"step": 0, "seconds": 0.0, "validated": 0, "best_loss": None, "config": recorded}
    progress = load_state(out / STATE, network, optimiser)
    if progress["config"] != recorded:
        raise UsageError(f"{out / STATE} was written by another configuration; resume with the one it began with")
    return progress


@contextmanager
def _averaged_weights(network: Network, optimiser: Any) -> Iterator[None]:
    """The network in eval mode with schedule-free's averaged weights."""
    # Switching to the averaged weights and back rounds; a copy puts the same bits back.
    stepped = [p.detach().clone() for p in network.parameters()]
    optimiser.eval()
    network.eval()
    try:
        yield
    finally:
        optimiser.train()
        network.train()
        with torch.no_grad():
            for parameter, saved in zip(network.parameters(), stepped, strict=True):
                parameter.copy_(saved)


def _write(save: Callable[..., None], *arguments: Any) -> None:
    """Saves a checkpoint whole or not at all.

    Raises:
        SceneError: the disk is full or refuses.
    """
    try:
        save(*arguments)
    except OSError as error:
        raise SceneError(
            f"the checkpoint cannot be written ({error.strerror}); the one before it is untouched:"
            " make room and go on with --resume"
        ) from error


def _leave_signals(_worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; those that load data are stopped by the one that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _draw(config: TrainingConfig, loss: CodecLoss, step: int, processes: int) -> tuple[Tensor, Tensor]:
    """Quantiser steps and gain limits of the joint batch."""
    joint = config.run.batch * processes
    generator = torch.Generator().manual_seed(config.run.seed * 1_000_003 + step)
    low, high = config.proxy.steps
    return low * (high / low) ** torch.rand(joint, generator=generator), loss.gain_limits(joint)


def _share(joint: Tensor, processes: Processes) -> Tensor:
    return joint.chunk(processes.count)[processes.rank]


def _average_terms(terms: LossTerms, processes: Processes) -> dict[str, float]:
    figures = {
        "loss": terms.total.detach(),
        "bits_per_pixel": terms.bits_per_pixel,
        "rate_change": terms.rate_change,
        "structure": terms.structure,
        "l1_before": terms.before,
        "l1_after": terms.after,
        "score": terms.scores.mean(),
    }
    values = processes.mean(torch.stack(list(figures.values()))).tolist()
    return dict(zip(figures, values, strict=True))


def _gradient_norm(network: Network) -> float:
    norms = [p.grad.norm() for p in network.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _rewind_log(path: Path, step: int) -> None:
    """Takes out what a killed run logged after its last checkpoint, which will be done again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            # Cut off in the middle of a line.
            continue
        if entry["step"] < step or (entry["step"] == step and entry["phase"] != "train"):
            kept.append(line + "\n")
    write_atomically(path, "".join(kept))


class _Log:
    """Figures as JSON lines and as TensorBoard's events."""

    def __init__(self, out: Path, writer: Any, config: TrainingConfig) -> None:
        self._path = out / LOG
        self._writer = writer
        self._score_names = [f"vmaf_gain_limit_{limit:g}" for limit in config.loss.gain_limits]

    def step(self, step: int, figures: dict[str, float], gradient_norm: float) -> None:
        figures["rate_change"] = math.expm1(figures["rate_change"])
        self._append(step, "train", {**figures, "gradient_norm": gradient_norm})

    def validation(self, step: int, reading: Judgement) -> None:
        proxy = reading.proxy
        figures = {
            "loss": proxy.loss,
            "rate_change": proxy.rate_change,
            "structure_change": proxy.structure_change,
            "l1_before": proxy.before,
            **{f"{n}_gain": g for n, g in zip(self._score_names, proxy.score_gains, strict=True)},
        }
        self._append(step, "validation", figures)
        if reading.encoder is not None:
            figures |= reading.encoder.figures()
            self._append(step, "x264", reading.encoder.figures())
        _LOG.info("step %d, validation: %s", step, ", ".join(f"{k} {v:.4g}" for k, v in figures.items()))

    def _append(self, step: int, phase: str, figures: dict[str, float]) -> None:
        if self._writer is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"phase": phase, "step": step, **figures}) + "\n")
        for name, value in figures.items():
            self._writer.add_scalar(f"{phase}/{name}", value, step)


def _record(config: TrainingConfig, progress: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """What a checkpoint says of how it came to be."""
    return {
        "config": config_as_dict(config),
        "steps": progress["step"],
        "seconds": round(float(progress["seconds"]), 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "scene": __version__,
    }
