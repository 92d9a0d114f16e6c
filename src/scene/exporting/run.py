"""From a request to a checked file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from scene import __version__
from scene.enhance import Enhancer, open_conditioner
from scene.enhance.calibrated import calibration_for
from scene.errors import InputError, SceneError, UsageError
from scene.exporting.check import check_run, given_embedding
from scene.files import PendingFile, check_destination
from scene.graphs.formats import FORMATS, OUTPUT, ExportFormat, Files
from scene.graphs.graph import SMALLEST_SIDE, ExportGraph, traced
from scene.model import Calibration, Network, load_model, resolve_model
from scene.model.controls import control_embeddings
from scene.options import BYPASS
from scene.video.encoders import find_encoder
from scene.video.encoders.settings import QuantiserCodecName

log = logging.getLogger(__name__)

# What a graph whose step is an input is checked at, in 8-bit codes.
_CHECKED_STEP = 20.0


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """A model to be written as a graph for another program.

    Attributes:
        model: a shipped name or a .safetensors file.
        destination: the file: .onnx, .pt2 (a program of torch.export) or .xml (OpenVINO IR, with a .bin beside it).
        format: "onnx", "torch" or "openvino"; None goes by the destination's suffix.
        codec: the encoder to come, to whose calibration the graph is built; needed by models that are conditioned on
            the quantiser.
        crf: of that encoder, whose quantiser step is then a constant of the graph. None makes the step an input.
        embedding: of networks that are conditioned on one: "input" for an input, "none" for the mean of the
            embeddings in training, or a picture whose embedding becomes a constant.
        strength: how much of the model's change to apply.
        batch: "any" number of pictures at once, or "one"; the latter is faster with networks.
        overwrite: replace files that exist.
    """

    model: str
    destination: Path
    format: ExportFormat | None = None
    codec: QuantiserCodecName | None = None
    crf: float | None = None
    embedding: str = "input"
    strength: float = 1.0
    batch: Literal["any", "one"] = "any"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written.

    Attributes:
        files: the destination, after what it needs beside it.
        model: identity.
        inputs: names of the graph's inputs, in order.
        codes_apart: by how many codes the file and the model are apart at most, on a photograph: 0 or 1; of ten bits on
            luma, of eight on R'G'B'.
        metadata: what the file says of itself.
    """

    files: tuple[Path, ...]
    model: str
    inputs: tuple[str, ...]
    codes_apart: int
    metadata: Mapping[str, str]


def export(request: ExportRequest) -> ExportResult:
    """Writes a model as a graph for another program, once the graph has shown that it does what the model does.

    The graph takes pictures of any size from 64x64 on. Its output is compared with that of `Enhancer` on windows of a
    photograph, none of the size that it was traced with. What a graph cannot have, the temporal filter, is logged.

    Raises:
        UsageError: a name, suffix or number that makes no sense, a destination that is taken, a model that needs an
            encoder and got none, or one that a graph cannot have.
        InputError, CheckpointError: the model or the picture cannot be read.
        MissingError: a package that the format needs, or the semantic encoder, is missing.
        VerificationError: the graph is more than one code from the model; nothing is written.
        SceneError: the destination cannot be written.
    """
    kind = _format(request)
    form = FORMATS[kind]
    if request.model == BYPASS:
        raise UsageError("`model` none leaves pictures as they are, so there is nothing to export; give a model.")
    source = resolve_model(request.model)
    targets = [request.destination.with_suffix(suffix) for suffix in form.suffixes]
    for target in targets:
        check_destination(source, target, overwrite=request.overwrite)
    if request.batch not in {"any", "one"}:
        raise UsageError(f"batch {request.batch!r} is unknown; choose any or one.")
    network = load_model(request.model)
    if network.config.planes == "yuv420":
        raise UsageError(f"model {network.identity} works on three planes of two sizes, and a graph has one picture.")
    calibration, step = _settings(request, network)
    embedding = _embedding(request, network)
    shown = network.references[:1] if embedding is None and _is_embedded(network) else embedding
    enhancer = Enhancer(
        network,
        strength=request.strength,
        calibration=calibration,
        temporal="off",
        device="cpu",
        semantics=None if shown is None else given_embedding(shown),
        step=(_CHECKED_STEP if step is None else step) * calibration.step,
    )
    if not network.config.body and not calibration.bank:
        raise UsageError(f"model {network.identity} has nothing but a temporal filter, which no graph can have.")
    form.require()
    if calibration.temporal is not None:
        log.warning(
            "%s: its temporal filter looks at several frames, and is not part of the exported graph.", network.identity
        )
    graph = ExportGraph(
        network,
        calibration,
        strength=request.strength,
        step=step,
        embedding=embedding,
        single=request.batch == "one",
    ).eval()
    metadata = _metadata(request, network, calibration, graph, step)
    files = form.write(traced(graph), graph.inputs, metadata)
    values = {"step": torch.tensor([_CHECKED_STEP]), "embedding": shown}
    conditions = [value for name in graph.inputs[1:] if (value := values[name]) is not None]
    apart = check_run(form.open(files, graph.inputs), enhancer, network, conditions, single=graph.single)
    _publish(files, request)
    return ExportResult(tuple(targets), network.identity, graph.inputs, apart, metadata)


def _format(request: ExportRequest) -> ExportFormat:
    """The form that the suffix or the request asks for; raises UsageError where they contradict each other."""
    if request.format is not None and request.format not in FORMATS:
        raise UsageError(f"format {request.format!r} is unknown; choose {', '.join(FORMATS)}.")
    by_suffix = {form.suffixes[-1]: name for name, form in FORMATS.items()}
    found = by_suffix.get(request.destination.suffix)
    if found is None:
        raise UsageError(f"{request.destination}: give the output one of the suffixes {', '.join(by_suffix)}.")
    if request.format not in {None, found}:
        raise UsageError(f"{request.destination} and `format` {request.format} contradict each other; leave one out.")
    return found


def _is_embedded(network: Network) -> bool:
    return network.config.guidance == "embedding"


def _settings(request: ExportRequest, network: Network) -> tuple[Calibration, float | None]:
    """How the model is applied, and the encoder's quantiser step, None for an input."""
    if request.codec is None:
        if network.config.quantiser is not None or network.calibrations:
            raise UsageError(
                f"model {network.identity} is fitted to the encoder to come; give its name as `codec`, and `crf` to "
                "have its quantiser step in the graph."
            )
        if request.crf is not None:
            raise UsageError("`crf` is on the scale of an encoder; give its name as `codec`.")
        return Calibration(), None
    encoder = find_encoder(request.codec)
    step = None if request.crf is None else encoder.quantiser_step(request.crf)
    return calibration_for(network, encoder), step


def _embedding(request: ExportRequest, network: Network) -> torch.Tensor | None:
    """The constant that conditions the network, (1, D, G, G); None for an input, and for networks without."""
    if not _is_embedded(network):
        if request.embedding != "input":
            raise UsageError(f"model {network.identity} takes no semantic embedding; leave `embedding` out.")
        return None
    if request.embedding == "input":
        return None
    references = network.references
    grid = network.config.semantic_grid
    if request.embedding == "none":
        return control_embeddings("none", references[:1], references, [0]).clone()
    path = Path(request.embedding)
    conditioner = open_conditioner(network, device="cpu")
    if conditioner.encoder is None:
        raise UsageError(f"model {network.identity} was trained with a control; give `embedding` none or input.")
    with torch.inference_mode():
        embedding = conditioner.embed(network, _read_rgb(path))
        # As the network itself does with grids of another size.
        embedding = F.interpolate(embedding, (grid, grid), mode="bilinear", align_corners=False, antialias=True)
    return embedding.clone()


def _read_rgb(path: Path) -> torch.Tensor:
    """(1, 3, H, W) in [0, 1]."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(
            f"`embedding` {path} cannot be read ({error.strerror}); give input, none or a picture."
        ) from None
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if picture is None:
        raise InputError(f"`embedding` {path} is no picture that can be read; give a PNG, JPEG or WebP file.")
    rgb = np.ascontiguousarray(picture[..., ::-1])
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def _metadata(
    request: ExportRequest, network: Network, calibration: Calibration, graph: ExportGraph, step: float | None
) -> dict[str, str]:
    """What the file says of itself: how the graph came about, and what goes in and out."""
    luma = network.config.planes == "luma"
    scale = "8-bit limited-range luma codes over 255" if luma else "full-range R'G'B' in [0, 1]"
    count = "1" if graph.single else "N"
    grid = network.config.semantic_grid
    contracts = {
        "step": "(1,), quantiser step of the encoder in 8-bit code values",
        "embedding": f"({count}, {network.config.embedding_width}, {grid}, {grid}), "
        f"of {network.semantics.identity if network.semantics else 'the semantic encoder of the training'}",
    }
    picture = f"({count}, {network.in_channels}, H, W), H and W of {SMALLEST_SIDE} or more, {scale}"
    entries = {
        "model": network.identity,
        "version": __version__,
        "planes": network.config.planes,
        "codec": request.codec,
        "crf": None if request.crf is None else f"{request.crf:g}",
        "step": None if step is None else f"{step:.6g}",
        "strength": f"{request.strength:g}",
        "embedding": Path(request.embedding).name if _is_embedded(network) else None,
        f"input.{graph.inputs[0]}": picture,
        **{f"input.{name}": contracts[name] for name in graph.inputs[1:]},
        f"output.{OUTPUT}": "of the same shape and scale, clipped to [0, 1]",
        "left_out": None if calibration.temporal is None else "temporal filter",
    }
    return {f"scene.{name}": text for name, text in entries.items() if text is not None}


def _publish(files: Files, request: ExportRequest) -> None:
    """All files are complete before the first has its name."""
    with ExitStack() as stack:
        pending = []
        for suffix, content in files.items():
            one = stack.enter_context(PendingFile(request.destination.with_suffix(suffix)))
            try:
                one.path.write_bytes(content)
            except OSError as error:
                raise SceneError(f"{request.destination} cannot be written: {error.strerror}.") from None
            pending.append(one)
        for one in pending:
            one.publish(overwrite=request.overwrite)
