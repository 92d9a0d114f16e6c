"""The file of `scene bench gpu`: which machine was measured, and what came of every variant so far."""

from __future__ import annotations

import ctypes
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from scene.errors import InputError, SceneError, UsageError
from scene.files import write_atomically

FORMAT = 1

Part = Literal["ceiling", "network", "enhancer", "semantics", "training"]
State = Literal["measured", "left out", "failed", "wrong"]
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured on.

    Attributes:
        card: name of the GPU, or "cpu" and its architecture.
        memory: of the GPU, in bytes; 0 for a CPU.
        capability: CUDA's compute capability, such as "9.0"; "" for a CPU.
        drivers: the driver's version; more than one where the file was gone on with after an update.
        torch, cuda, cudnn: versions; "" where there is none.
        threads: of torch on the CPU.
    """

    card: str
    memory: int
    capability: str
    drivers: tuple[str, ...]
    torch: str
    cuda: str
    cudnn: str
    threads: int


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to measure; the file has each at most once.

    Attributes:
        part: what kind of thing.
        what: a ceiling's name, a model's identity, or what else is measured.
        size: of the pictures, WIDTHxHEIGHT; "" where there are none.
        batch: pictures or patches at once.
        precision: of the arithmetic; "" where there is but one.
        form: how it is run; "" where there is but one.
    """

    part: Part
    what: str
    size: str = ""
    batch: int = 1
    precision: str = ""
    form: str = ""

    @property
    def label(self) -> str:
        """In one line."""
        words = (self.part, self.what, self.size, f"x{self.batch}" if self.batch > 1 else "", self.precision, self.form)
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a variant.

    Attributes:
        variant: which.
        state: "measured"; "left out", which a later run tries again; "failed"; or "wrong", where it was measured and
            its pictures are not those of the reference.
        reason: in one line, why it was not measured or is wrong.
        figures: by name; docs/performance.md says what they mean. Empty where nothing was measured.
    """

    variant: Variant
    state: State
    reason: str
    figures: Figures


class LeftOut(Exception):  # noqa: N818 - no error: the machine or the model has no such thing
    """A variant that is not measured here; the message says why."""


def this_machine(device: torch.device) -> Machine:
    """The machine that runs this."""
    on_gpu = device.type == "cuda"
    cudnn = torch.backends.cudnn.version() if on_gpu else None  # type: ignore[no-untyped-call]
    versions = (torch.__version__, torch.version.cuda or "", "" if cudnn is None else str(cudnn))
    if not on_gpu:
        return Machine(f"cpu {platform.machine()}", 0, "", (), *versions, torch.get_num_threads())
    seen = torch.cuda.get_device_properties(device)
    capability = f"{seen.major}.{seen.minor}"
    return Machine(seen.name, seen.total_memory, capability, (_driver(),), *versions, torch.get_num_threads())


def _driver() -> str:
    """The version of NVIDIA's driver, by its own library, which torch does not ask for it."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        version = ctypes.create_string_buffer(96)
        if library.nvmlInit_v2() == 0 and library.nvmlSystemGetDriverVersion(version, len(version)) == 0:
            return version.value.decode("ascii", "replace")
    except (OSError, AttributeError):
        pass
    return "unknown"


def read_outcomes(path: Path, machine: Machine) -> tuple[Machine, dict[Variant, Outcome]]:
    """What an earlier run has written, none where there is no such file.

    Returns:
        The machine, with the drivers of earlier runs too, and the outcomes in the order of the file.

    Raises:
        UsageError: the file is of another card or torch.
        InputError: it is no file of `scene bench gpu`, or cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ValueError
        card, version = content["card"], content["torch"]
        drivers = tuple(dict.fromkeys((*map(str, content["drivers"]), *machine.drivers)))
        outcomes = [_outcome(entry) for entry in content["variants"]]
    except FileNotFoundError:
        return machine, {}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path} holds no figures of this command; give `out` another name.") from error
    if (card, version) != (machine.card, machine.torch):
        raise UsageError(
            f"{path} holds figures of {card} with torch {version}, and this is {machine.card} with torch"
            f" {machine.torch}; give `out` another name."
        )
    return replace(machine, drivers=drivers), {outcome.variant: outcome for outcome in outcomes}


def _outcome(entry: dict[str, Any]) -> Outcome:
    fields = dict(entry)
    state, reason, figures = (fields.pop(name) for name in ("state", "reason", "figures"))
    variant = Variant(**fields)
    if variant.part not in get_args(Part) or state not in get_args(State):
        raise ValueError
    if not all(isinstance(number, int | float) for number in figures.values()):
        raise ValueError
    return Outcome(variant, state, str(reason), figures)


def write_outcomes(path: Path, machine: Machine, outcomes: Iterable[Outcome]) -> None:
    """Writes all outcomes so far, whole or not at all. Raises SceneError where that cannot be done."""
    variants = [
        {**asdict(one.variant), "state": one.state, "reason": one.reason, "figures": dict(one.figures)}
        for one in outcomes
    ]
    content = {"format": FORMAT, **asdict(machine), "variants": variants}
    try:
        write_atomically(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise SceneError(f"{path} cannot be written: {error.strerror}.") from error
