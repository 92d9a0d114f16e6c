"""What an enhancer does to pictures, as one module of torch that takes batches and sizes of all kinds when exported."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from scene.model import Calibration, Network
from scene.model.assembled import AssembledConv2d
from scene.model.bank import bank_change

# Below, the bank's pyramid has fewer levels, and a graph has one number of them.
SMALLEST_SIDE = 64
# Any other sizes do: the graph is for all of them.
_TRACED = (97, 135)


class ExportGraph(nn.Module):
    """clip(x + strength * change(x)), where the change is that of the network, of the calibration's bank, or both.

    Attributes:
        inputs: names of what `forward` takes, in order: the picture by its planes, then "step" and "embedding" where
            the model is conditioned on them and they are not folded in.

    Args:
        network: copied; its planes are "luma" or "rgb".
        calibration: how it is applied, but for the temporal filter.
        strength: how much of the change to apply.
        step: quantiser step of the encoder to come, in 8-bit code values, without the calibration's factor; None for
            an input.
        embedding: (1, D, G, G), None for an input.
        single: batches of one picture only; kernels are then mixed, which is faster than mixing what they give.
    """

    step: Tensor | None
    embedding: Tensor | None

    def __init__(
        self,
        network: Network,
        calibration: Calibration,
        *,
        strength: float,
        step: float | None,
        embedding: Tensor | None,
        single: bool,
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.calibration = calibration
        self.strength = strength
        self.single = single
        self.register_buffer("step", None if step is None else torch.tensor([step]))
        self.register_buffer("embedding", embedding)
        inputs: list[str] = [network.config.planes]
        if step is None and (network.config.quantiser is not None or calibration.bank):
            inputs.append("step")
        if embedding is None and network.config.guidance == "embedding":
            inputs.append("embedding")
        self.inputs = tuple(inputs)
        if network.config.guidance == "embedding":
            # Of many references the graph needs the mean alone.
            self.network.references = network.references.mean(dim=(0, 2, 3), keepdim=True)
        if not single and network.config.body:
            for block in self.network.blocks:
                convolutions = cast(nn.ModuleList, block.convs)
                block.convs = nn.ModuleList(_AnyBatch(cast(AssembledConv2d, one)) for one in convolutions)

    def forward(self, pictures: Tensor, *conditions: Tensor) -> Tensor:
        """Enhances a batch.

        Args:
            pictures: (N, C, H, W), sides of 64 or more. Luma is the 8-bit limited-range code over 255, R'G'B' is full
                range in [0, 1].
            conditions: what `inputs` names besides: the step (1,), in 8-bit code values, and the embedding
                (N, D, G, G).

        Returns:
            The same shape and scale, clipped to [0, 1].
        """
        given = dict(zip(self.inputs[1:], conditions, strict=True))
        step, embedding = given.get("step", self.step), given.get("embedding", self.embedding)
        if step is not None:
            step = step * self.calibration.step
        change = torch.zeros_like(pictures)
        if self.network.config.body:
            change = (self.network(pictures, embedding, step) - pictures) * self.calibration.strength
        if self.calibration.bank:
            assert step is not None
            change = change + bank_change(pictures * 255, self.calibration.bank, step) / 255
        return (pictures + change * self.strength).clamp(0, 1)

    def example(self) -> tuple[Tensor, ...]:
        """Inputs to trace with."""
        config = self.network.config
        batch = 1 if self.single else 2
        shapes = {
            "step": (1,),
            "embedding": (batch, config.embedding_width, config.semantic_grid, config.semantic_grid),
        }
        pictures = torch.rand(batch, self.network.in_channels, *_TRACED)
        return (pictures, *(torch.ones(shapes[name]) for name in self.inputs[1:]))


class _AnyBatch(nn.Module):
    """An assembled convolution whose kernels are weights of the graph: what they give is mixed.

    Grouped convolutions, as `AssembledConv2d` has them, would fix the number of pictures in the graph.
    """

    def __init__(self, convolution: AssembledConv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """As `AssembledConv2d.forward`."""
        shared = isinstance(coefficients.shape[0], int) and coefficients.shape[0] == 1
        if shared or coefficients.shape[-2:] != (1, 1):
            return cast(Tensor, self.convolution(x, coefficients))
        return self.convolution.mix_outputs(x, coefficients)


def traced(graph: ExportGraph) -> ExportedProgram:
    """The graph as a program of torch.export, for batches and sizes of all kinds; takes seconds."""
    batch = None if graph.single else Dim("batch", min=1)
    shapes: dict[str, dict[int, object]] = {"step": {}, "embedding": {0: batch}}
    height, width = Dim("height", min=SMALLEST_SIDE), Dim("width", min=SMALLEST_SIDE)
    conditions = tuple({k: v for k, v in shapes[name].items() if v is not None} for name in graph.inputs[1:])
    pictures = {2: height, 3: width} if batch is None else {0: batch, 2: height, 3: width}
    with torch.no_grad():
        program = torch.export.export(
            graph,
            graph.example(),
            dynamic_shapes=(pictures, conditions) if conditions else (pictures,),
            # What holds for all sizes need not be provable by torch.
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    # They name files of this machine.
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    program.example_inputs = None
    return program
