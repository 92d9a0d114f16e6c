"""The ways to run a network on pictures, and what each costs: layout, arithmetic, and when kernels are assembled."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from scene.benchmarks.gpu.record import LeftOut
from scene.enhance.calibrated import calibration_for, conditioning_step
from scene.enhance.device import synchronise
from scene.model import Network
from scene.model.bank import bank_change
from scene.model.calibration import Bank
from scene.model.network import AssembledBlock
from scene.picture import Picture
from scene.video.encoders import DEFAULT_ENCODER, find_encoder

# How a network is run. Those after the layouts take the faster of the two, and kernels once a shot where they can.
EAGER, CHANNELS_LAST, SHOT_KERNELS, GRAPH, COMPILED = "eager", "channels-last", "shot kernels", "CUDA graph", "compiled"
_BEFORE_CAPTURE = 3


def forms_of(network: Network) -> tuple[str, ...]:
    """The forms that make a difference to this network, those that take long last."""
    if not network.config.body:
        return EAGER, GRAPH, COMPILED
    shot = (SHOT_KERNELS,) if _has_shot_kernels(network) else ()
    return EAGER, CHANNELS_LAST, *shot, GRAPH, COMPILED


def _has_shot_kernels(network: Network) -> bool:
    # A block that features condition has other kernels in every frame, and a map of embeddings has none of its own.
    return network.config.body and network.config.guidance == "embedding" and network.config.semantic_grid == 1


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A network with all that it takes, and what it makes of some pictures in strict float32.

    Attributes:
        network: on the device.
        bank: of its calibration; changes nothing with most networks.
        embedding: (1, D, G, G), one that it was trained with; None where it takes none.
        step: (1,), the quantiser step of the default encoder at its default CRF.
        pictures: (N, 1, H, W), luma on the studio scale, float32.
        expected: (N, 1, H, W), 8-bit codes as float32, neither rounded otherwise nor clipped.
    """

    network: Network
    bank: Bank
    embedding: Tensor | None
    step: Tensor
    pictures: Tensor
    expected: Tensor


@torch.inference_mode()
def open_subject(network: Network, pictures: Sequence[Picture], device: torch.device) -> Subject:
    """Runs a network that works on luma over 8-bit pictures, one by one; TF32 is the caller's affair."""
    encoder = find_encoder(DEFAULT_ENCODER)
    step = torch.tensor([conditioning_step(network, encoder, encoder.default_crf)], device=device)
    embedding = network.references[:1].to(device) if network.config.guidance == "embedding" else None
    luma = torch.from_numpy(np.stack([picture.planes[0] for picture in pictures])).to(device)[:, None] / 255
    network = network.to(device)
    subject = Subject(network, calibration_for(network, encoder).bank, embedding, step, luma, luma)
    made = [_codes(_plain(subject, picture[None])) for picture in luma]
    return replace(subject, expected=torch.cat(made))


def _plain(subject: Subject, x: Tensor) -> Tensor:
    y: Tensor = subject.network(x, subject.embedding, subject.step)
    return y + _change_of_bank(subject, x, x.dtype)


def _change_of_bank(subject: Subject, x: Tensor, dtype: torch.dtype) -> Tensor:
    if not subject.bank:
        return torch.zeros_like(x)
    return bank_change((x * 255).to(dtype), subject.bank, subject.step).float() / 255


def _codes(picture: Tensor) -> Tensor:
    return (picture * 255).round()


def furthest(subject: Subject, output: Tensor) -> float:
    """The largest difference of pictures from the expected ones, in 8-bit codes; not a number where they have some."""
    return float((_codes(output) - subject.expected[: len(output)]).abs().max())


class NetworkForm(nn.Module):
    """A network in another layout or arithmetic; what it adds to a picture is added in float32, as codes need.

    Args:
        subject: whose network it is; that stays as it is.
        dtype: of weights and features.
        channels_last: how features lie in memory.
        shot_kernels: whether the kernels that an embedding mixes are assembled here, once, rather than in every frame.
    """

    def __init__(self, subject: Subject, dtype: torch.dtype, *, channels_last: bool, shot_kernels: bool) -> None:
        super().__init__()
        self._subject = subject
        self._dtype = dtype
        self._embedding = None if subject.embedding is None or shot_kernels else subject.embedding.to(dtype)
        self.body: Network | None = None
        config = subject.network.config
        if config.body:
            body = copy.deepcopy(subject.network)
            if shot_kernels:
                body.blocks[0] = _ShotBlock(subject)
            # Its own sum of picture and change would be in `dtype`, too coarse for 8-bit codes.
            body.config = replace(config, global_skip=False, bank=None)
            layout = torch.channels_last if channels_last else torch.contiguous_format
            self.body = body.to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) on the studio scale, float32, to the same."""
        subject, config = self._subject, self._subject.network.config
        made = x
        if config.bank is not None:
            made = made + bank_change(made * 255, config.bank, subject.step) / 255
        if self.body is not None:
            change = self.body(made.to(self._dtype), self._embedding, subject.step).float()
            made = made + change if config.global_skip else change
        return made + _change_of_bank(subject, x, self._dtype) if subject.bank else made


class _ShotBlock(nn.Module):
    """A network's first block with the kernels that one embedding mixes."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        block = subject.network.blocks[0]
        assert isinstance(block, AssembledBlock)
        seen: list[Tensor] = []
        handle = block.control.register_forward_hook(lambda _module, _given, out: seen.append(out))
        _plain(subject, subject.pictures[:1])
        handle.remove()
        self.convs = nn.ModuleList()
        for index, assembled in enumerate(block.convs):
            kernels, biases = assembled.assemble(seen[0][:, index, ..., 0, 0])  # type: ignore[operator]
            side = kernels.shape[-1]
            conv = nn.Conv2d(kernels.shape[2], kernels.shape[1], side, padding=side // 2)
            conv.weight, conv.bias = nn.Parameter(kernels[0]), nn.Parameter(biases[0])
            self.convs.append(conv)
        self.activation, self.skip = block.activation, block.skip

    def forward(self, x: Tensor, _embedding: Tensor | None) -> Tensor:
        """As `AssembledBlock.forward`."""
        y = x
        for index, conv in enumerate(self.convs):
            y = conv(y)
            if index < len(self.convs) - 1:
                y = self.activation(y)
        return x + y if self.skip else y


@torch.no_grad()
def open_form(
    subject: Subject, form: str, dtype: torch.dtype, x: Tensor, *, channels_last: bool
) -> tuple[NetworkForm, Callable[[], Tensor], Mapping[str, float]]:
    """A network's form, and what runs it over one batch as often as it is called.

    Args:
        channels_last: the faster layout; `EAGER` and `CHANNELS_LAST` have their own.

    Returns:
        The form, a call of it, and figures of its making.

    Raises:
        LeftOut: a CUDA graph, or a compiled network, on a CPU.
    """
    if form in {GRAPH, COMPILED} and x.device.type != "cuda":
        raise LeftOut(
            "needs a GPU" if form == GRAPH else "is measured on a GPU only; compiling for a CPU takes minutes"
        )
    module = NetworkForm(
        subject,
        dtype,
        channels_last=form == CHANNELS_LAST or (channels_last and form != EAGER),
        shot_kernels=form not in {EAGER, CHANNELS_LAST} and _has_shot_kernels(subject.network),
    ).eval()
    if form == GRAPH:
        return module, _captured(module, x), {}
    if form == COMPILED:
        run, seconds = compiled(module, x)
        return module, run, {"compile_s": seconds}
    return module, lambda: module(x), {}


@torch.inference_mode()
def _captured(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_BEFORE_CAPTURE):
            module(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output: Tensor = module(x)

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


@torch.inference_mode()
def compiled(module: nn.Module, x: Tensor) -> tuple[Callable[[], Tensor], float]:
    """A call of a module that torch has compiled for this batch, and how many seconds that took."""
    # Of one function torch compiles a few variants, and would go on without compiling.
    torch.compiler.reset()
    began = time.perf_counter()
    function = torch.compile(module, fullgraph=True, dynamic=False)
    function(x)
    synchronise(x.device)
    return lambda: function(x), time.perf_counter() - began


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what the convolutions inside do."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.convolution.default:
            x, weight = args[:2]
            self.flops += 2 * output.numel() * weight[0].numel()
            self.bytes += x.nbytes + weight.nbytes + output.nbytes
        return output


def count(module: nn.Module, x: Tensor) -> tuple[float, float]:
    """Floating-point operations and bytes of one call.

    Operations are those of the convolutions, a multiply-add as two. Bytes are those that each convolution must read and
    write once, and the batch in and out; what else is done on the way costs more of them.
    """
    # Inference mode does not say what it calls.
    with torch.no_grad(), _Count() as counted:
        module(x)
    return counted.flops, counted.bytes + 2 * x.nbytes
