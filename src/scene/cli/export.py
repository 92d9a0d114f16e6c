"""`scene export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from scene.cli.console import LogFormat
from scene.video.encoders.settings import QuantiserCodecName


def export(
    model: Annotated[str, Parameter(name="MODEL")],
    destination: Annotated[Path, Parameter(name="OUT")],
    /,
    *,
    format: Literal["onnx", "torch", "openvino"] | None = None,
    codec: QuantiserCodecName | None = None,
    crf: float | None = None,
    embedding: str = "input",
    strength: float = 1.0,
    batch: Literal["any", "one"] = "any",
    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False,
    log_format: LogFormat = "text",
) -> None:
    """Write a model as a graph for another program: ONNX, OpenVINO IR or torch.export, checked against the model.

    For example: scene export asconvsr asconvsr.onnx --codec x264 --crf 23

    The graph takes pictures of every size from 64x64 on. A temporal filter cannot be part of it.

    Args:
        model: Name of a shipped model, or a .safetensors file.
        destination: The file: .onnx, .pt2 for torch.export, or .xml for OpenVINO, which gets a .bin beside it.
        format: By default what the suffix of OUT says.
        codec: The encoder that takes the pictures afterwards. Models that are conditioned on how coarsely it will
            quantise, as the shipped ones are, need it.
        crf: The constant rate factor that this encoder is given, a QP with vvenc: its quantiser step becomes a constant
            of the graph. Without it the step is an input.
        embedding: Of models that are conditioned on one: input for an input of the graph, none for the mean in
            training, or a picture (PNG, JPEG, WebP) whose embedding becomes a constant.
        strength: How much of the model's change to apply.
        batch: How many pictures the graph takes at once: any, or one, which is faster with networks.
        overwrite: Replace OUT if it exists.
        log_format: What standard error gets: text, or one JSON object a line.
    """
    from scene.cli.console import announce, setup_logging

    setup_logging(log_format)

    import scene

    request = scene.ExportRequest(
        model=model,
        destination=destination,
        format=format,
        codec=codec,
        crf=crf,
        embedding=embedding,
        strength=strength,
        batch=batch,
        overwrite=overwrite,
    )
    result = scene.export(request)
    agreement = "to the last code" if result.codes_apart == 0 else "to within one code"
    announce(f"{destination}: model {result.model}, inputs {', '.join(result.inputs)}; agrees {agreement}")
