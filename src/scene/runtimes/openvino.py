"""A network computed by OpenVINO on the processor."""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from scene import __version__
from scene.errors import MissingError, UsageError
from scene.files import default_cache_folder, write_atomically
from scene.graphs.formats import FORMATS, OUTPUT, Files
from scene.graphs.graph import ExportGraph, traced
from scene.model import Calibration, Network

log = logging.getLogger(__name__)


class OpenVINONetwork:
    """A network as a function that OpenVINO compiles, once for each size of picture.

    Making its graph takes some seconds; it is kept in the cache folder for the next time.

    Args:
        network: that predicts a change, of luma or R'G'B'.
        half: in bfloat16 where the processor can, else in float32.

    Raises:
        MissingError: OpenVINO, or a package that makes graphs for it, is not installed.
        UsageError: a network that no graph can have.
    """

    def __init__(self, network: Network, *, half: bool) -> None:
        if network.config.planes == "yuv420" or not network.config.body:
            raise UsageError(f"model {network.identity} cannot be computed by OpenVINO; use torch.")
        form = FORMATS["openvino"]
        try:
            form.require()
        except MissingError as error:
            raise MissingError(f"OpenVINO cannot be used: {error}") from None
        import openvino

        graph = ExportGraph(network, Calibration(), strength=1, step=None, embedding=None, single=True).eval()
        self._inputs = graph.inputs
        self._core = openvino.Core()
        self._model = _read_or_make(self._core, network, graph)
        self._settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, x: Tensor, embedding: Tensor | None, step: Tensor | None) -> Tensor:
        """As `Network.forward`, for float32 on the CPU; clipped to [0, 1]."""
        given = {"step": step, "embedding": embedding}
        outputs = []
        for index in range(x.shape[0]):
            values = [x[index : index + 1]]
            for name in self._inputs[1:]:
                value = given[name]
                assert value is not None
                values.append(value[index : index + 1] if len(value) == len(x) else value[:1])
            arrays = dict(zip(self._inputs, (value.contiguous().numpy() for value in values), strict=True))
            outputs.append(torch.from_numpy(self._for(values)(arrays)[OUTPUT].copy()))
        return torch.cat(outputs)

    def _for(self, values: list[Tensor]) -> Any:
        size = tuple(values[0].shape)
        if size not in self._compiled:
            model = self._model.clone()
            # Fixed sizes are computed faster.
            model.reshape({name: list(value.shape) for name, value in zip(self._inputs, values, strict=True)})
            self._compiled = {size: self._core.compile_model(model, "CPU", self._settings)}
        return self._compiled[size]


def _read_or_make(core: Any, network: Network, graph: ExportGraph) -> Any:
    """The network's graph from the cache folder, or made and put there."""
    content = hashlib.sha256(network.identity.encode())
    for tensor in network.state_dict().values():
        content.update(tensor.numpy().tobytes())
    for package in ("torch", "openvino"):
        content.update(version(package).encode())
    content.update(f"{__version__}{network.config}".encode())
    place = default_cache_folder() / "openvino" / content.hexdigest()[:32]
    paths = {suffix: place.with_suffix(suffix) for suffix in FORMATS["openvino"].suffixes}
    try:
        return _read(core, paths)
    except (OSError, RuntimeError):
        log.info("%s: its graph for OpenVINO is made, which takes some seconds, once.", network.identity)
    files = FORMATS["openvino"].write(traced(graph), graph.inputs, {})
    try:
        _write(files, paths)
        return _read(core, paths)
    except OSError as error:
        log.warning("%s cannot be written (%s); the graph is made again next time.", paths[".xml"], error.strerror)
    with TemporaryDirectory(prefix="scene-openvino-", ignore_cleanup_errors=True) as folder:
        temporary = {suffix: Path(folder) / f"graph{suffix}" for suffix in files}
        _write(files, temporary)
        return _read(core, temporary)


def _read(core: Any, paths: dict[str, Path]) -> Any:
    """By name, so that the weights are the file's, mapped into memory, and no buffer of Python's that may go."""
    if not paths[".xml"].exists():
        raise FileNotFoundError(paths[".xml"])
    return core.read_model(paths[".xml"], paths[".bin"])


def _write(files: Files, paths: dict[str, Path]) -> None:
    for suffix, content in files.items():
        paths[suffix].parent.mkdir(parents=True, exist_ok=True)
        write_atomically(paths[suffix], content)
