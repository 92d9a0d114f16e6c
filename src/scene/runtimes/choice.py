"""A network as a function of a runtime, and which runtime is the fastest here."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from scene.errors import SceneError, UsageError
from scene.files import default_cache_folder, write_atomically
from scene.model import Network
from scene.options import RuntimeName

log = logging.getLogger(__name__)

# From a picture (N, C, H, W), an embedding and a quantiser step to the enhanced picture, all in float32.
Compute = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]

RUNTIMES: tuple[RuntimeName, ...] = ("torch", "torch-bf16", "openvino", "openvino-bf16")


def open_runtime(network: Network, name: RuntimeName, device: torch.device) -> Compute:
    """The network as a function of a runtime.

    Networks that do not predict a change, but give whole pictures, are always computed in float32.

    Args:
        network: on the device.
        name: of `settled_runtime`.

    Raises:
        UsageError: OpenVINO was asked for a GPU, or for a network that it cannot have.
        MissingError: OpenVINO is not installed.
    """
    half = name.endswith("-bf16") and network.config.global_skip
    if name.startswith("torch"):
        return _torch(network, device, half=half)
    if device.type != "cpu":
        raise UsageError(f"`runtime` {name} computes on the processor; give torch for {device.type}.")
    from scene.runtimes.openvino import OpenVINONetwork

    return OpenVINONetwork(network, half=half)


def settled_runtime(network: Network, name: RuntimeName, device: torch.device) -> RuntimeName:
    """A name in place of `auto`: that of `fastest_runtime` for a network on a processor, torch elsewhere."""
    if name != "auto":
        return name
    return fastest_runtime(network) if device.type == "cpu" and network.config.body else "torch"


def fastest_runtime(network: Network) -> RuntimeName:
    """The runtime that `remember_fastest` was told last for networks of this shape on this processor, else torch."""
    found = _read().get(_key(network))
    return found if found in RUNTIMES else "torch"


def remember_fastest(fastest: Mapping[Network, RuntimeName]) -> Path:
    """Keeps networks' fastest runtimes in the cache folder, for this processor, number of threads and versions.

    Returns:
        The file.

    Raises:
        SceneError: it cannot be written.
    """
    path = _path()
    known = {**_read(), **{_key(network): name for network, name in fastest.items()}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(known, indent=1) + "\n")
    except OSError as error:
        raise SceneError(f"{path} cannot be written ({error.strerror}).") from error
    return path


def _torch(network: Network, device: torch.device, *, half: bool) -> Compute:
    def compute(x: Tensor, embedding: Tensor | None, step: Tensor | None) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            made: Tensor = network(x, embedding, step)
        return made

    return compute


def _key(network: Network) -> str:
    """All that speed depends on; the numbers in the weights do not matter."""
    versions = []
    for package in ("torch", "openvino"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join([_processor(), f"{torch.get_num_threads()} threads", *versions, str(network.config)])


def _processor() -> str:
    """Its model, as far as the system says."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _path() -> Path:
    return default_cache_folder() / "runtimes.json"


def _read() -> dict[str, RuntimeName]:
    try:
        known = json.loads(_path().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
