"""The full network with weights and features in 8 bits: what processor time it takes, and how far it is from float32.

    python scripts/bench_int8.py PHOTOS FRAMES

By torch's own int8 convolutions, whose kernels are quantised anew in every frame since the network mixes them anew. And
by OpenVINO after NNCF's quantisation, where `nncf` is installed: its int8 convolutions take constant kernels only, so
that a network with those of one picture, whatever it is given, stands beside the network itself; each is held against
its own float32.

Ranges of the features are those of PHOTOS; differences are those of FRAMES, and of squares of black and white.
Times are processor time, the best of ten turns.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scene.benchmarks.made_clip import made_pictures
from scene.enhance.calibrated import conditioning_step
from scene.graphs.formats import FORMATS, OUTPUT
from scene.graphs.graph import ExportGraph, traced
from scene.model import Calibration, Network, load_model
from scene.model.assembled import AssembledConv2d
from scene.options import RuntimeName
from scene.runtimes import RUNTIMES, open_runtime
from scene.training.data.crops import rgb_to_luma
from scene.training.data.images import list_images, read_image
from scene.video.encoders import find_encoder

# Of x264; pictures take them in turn.
CRFS = (22.0, 30.0, 38.0)
SIZE = (1280, 720)
TURNS = 10
# Of a convolution: stride, padding, dilation, groups.
_SHAPE = ([1, 1], [1, 1], [1, 1], 1)

Given = tuple[Tensor, Tensor]
Compute = Callable[[Tensor, Tensor], Tensor]


class Int8Network:
    """The assembled convolutions in int8, what is around them and between the blocks in bfloat16.

    Args:
        network: on luma, that predicts a change and is conditioned on its features and the quantiser.
        pictures: whose features have the ranges that 8 bits are spread over.
    """

    def __init__(self, network: Network, pictures: Sequence[Given]) -> None:
        self.network = network
        convolutions = [conv for block in blocks_of(network) for conv in block.convs]
        self.ranges = [(0.0, 0.0)] * len(convolutions)

        def widen(index: int, x: Tensor) -> None:
            low, high = self.ranges[index]
            self.ranges[index] = (min(low, float(x.min())), max(high, float(x.max())))

        hooks = [
            conv.register_forward_pre_hook(lambda _, given, index=index: widen(index, given[0]))
            for index, conv in enumerate(convolutions)
        ]
        for picture, step in pictures:
            network(picture, None, step)
        for hook in hooks:
            hook.remove()

    def __call__(self, x: Tensor, step: Tensor) -> Tensor:
        """(1, 1, H, W) of even sides to the same, not clipped."""
        network = self.network
        folded = F.pixel_unshuffle(x.bfloat16(), network.config.unshuffle)
        assert network.config.quantiser is not None
        plane = network._step_plane(folded, step, network.config.quantiser)
        features = _half(network.head, torch.cat([folded, plane], 1).contiguous(memory_format=torch.channels_last))
        for number, block in enumerate(network.blocks):
            features = self._block(block, 3 * number, features)
        return x + F.pixel_shuffle(_half(network.tail, features), network.config.unshuffle)

    def _block(self, block: Any, first: int, features: Tensor) -> Tensor:
        exact = features.float()
        coefficients = block.control(exact.mean(dim=(-2, -1), keepdim=True))[..., 0, 0]
        codes = _bytes(torch.quantize_per_tensor(exact, *self._scale(first), torch.quint8))
        ops: Any = torch.ops.onednn
        for index, conv in enumerate(block.convs[:-1]):
            kernel = self._kernel(conv, coefficients[:, index], first + index, codes)
            made: tuple[Any, ...] = (*self._scale(first + index + 1), torch.uint8)
            codes = ops.qconv2d_pointwise(*kernel, *_SHAPE, *made, "relu", [], "")
        last = len(block.convs) - 1
        kernel = self._kernel(block.convs[last], coefficients[:, last], first + last, codes)
        made = (1.0, 0, torch.bfloat16, 1.0, 0)
        summed = ops.qconv2d_pointwise.binary
        return cast(Tensor, summed(*kernel[:-1], features, kernel[-1], *_SHAPE, *made, "sum", 1.0, None, [], None))

    def _kernel(self, conv: AssembledConv2d, coefficients: Tensor, index: int, codes: Tensor) -> tuple[Any, ...]:
        """A convolution's input and mixed kernel as torch's operators take them; the bias comes last."""
        [kernel], [bias] = conv.assemble(coefficients)
        scales = kernel.abs().amax((1, 2, 3)) / 127
        integers = (kernel / scales[:, None, None, None]).round().to(torch.int8)
        of_input = self._scale(index)
        packed = torch.ops.onednn.qconv_prepack(integers, scales, *of_input, *_SHAPE, list(codes.shape))
        return codes, *of_input, packed, scales, torch.zeros(len(scales), dtype=torch.int64), bias

    def _scale(self, index: int) -> tuple[float, int]:
        low, high = self.ranges[index]
        scale = (high - low) / 255
        return scale, round(-low / scale)


def blocks_of(network: Network) -> list[Any]:
    """Its assembled blocks."""
    return list(network.blocks)


def _half(convolution: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, convolution.weight.bfloat16(), convolution.bias.bfloat16(), padding=1)


def _bytes(quantised: Tensor) -> Tensor:
    """Its codes, in the same memory."""
    codes = torch.empty(0, dtype=torch.uint8)
    return codes.set_(quantised.untyped_storage(), 0, quantised.size(), quantised.stride())


class _Constant(nn.Module):
    """In an assembled convolution's place, with the kernels of one picture."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, kernel: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, self.bias, padding=1)


def with_constant_kernels(network: Network, picture: Given) -> Network:
    """The network with the kernels that it mixes for a picture, whatever else it is given."""
    made = copy.deepcopy(network)

    def mix(module: Any, given: Any, result: Any) -> None:
        [kernel], [bias] = module.assemble(given[1][..., 0, 0])
        mixed.append(_Constant(kernel, bias))

    mixed: list[_Constant] = []
    hooks = [conv.register_forward_hook(mix) for block in blocks_of(made) for conv in block.convs]
    made(picture[0], None, picture[1])
    for hook in hooks:
        hook.remove()
    for number, block in enumerate(blocks_of(made)):
        block.convs = nn.ModuleList(mixed[3 * number : 3 * number + 3])
    return made


def by_nncf(network: Network, pictures: Sequence[Given]) -> Compute:
    """A network in OpenVINO's int8, but for the first and last convolution and the sum at the end.

    Raises:
        ImportError: NNCF or OpenVINO is not installed.
    """
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    graph = ExportGraph(network, Calibration(), strength=1, step=None, embedding=None, single=True).eval()
    files = FORMATS["openvino"].write(traced(graph), graph.inputs, {})
    core = openvino.Core()
    model = core.read_model(files[".xml"], files[".bin"])
    names: dict[str, list[str]] = defaultdict(list)
    for operation in model.get_ordered_ops():
        names[operation.get_type_name()].append(operation.get_friendly_name())
    exact = [names["Add"][-1], names["Convolution"][0], names["Convolution"][-1]]
    made = nncf.quantize(
        model,
        nncf.Dataset([dict(zip(graph.inputs, (x.numpy(), step.numpy()), strict=True)) for x, step in pictures]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        ignored_scope=nncf.IgnoredScope(names=exact),
        advanced_parameters=AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
    )
    settings = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled: dict[torch.Size, Any] = {}

    def compute(x: Tensor, step: Tensor) -> Tensor:
        if x.shape not in compiled:
            sized = made.clone()
            sized.reshape({graph.inputs[0]: list(x.shape), graph.inputs[1]: [1]})
            compiled[x.shape] = core.compile_model(sized, "CPU", settings)
        return torch.from_numpy(compiled[x.shape]((x.numpy(), step.numpy()))[OUTPUT].copy())

    return compute


def read_lumas(folder: Path, network: Network) -> list[Given]:
    """Photographs' luma, whole codes over 255, with even sides, each with the step of one of `CRFS`."""
    found = []
    for index, path in enumerate(list_images(folder)):
        rgb = torch.from_numpy(read_image(path).copy()).permute(2, 0, 1)
        luma = (rgb_to_luma(rgb / 255) * 255).round() / 255
        height, width = (side // 2 * 2 for side in luma.shape[-2:])
        step = conditioning_step(network, find_encoder("x264"), CRFS[index % len(CRFS)])
        found.append((luma[None, :, :height, :width].contiguous(), torch.tensor([step])))
    return found


def squares(step: Tensor) -> Given:
    """Squares of 8 x 8 samples, black or white by chance."""
    ones = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(0)) > 0.5
    grown = ones.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return torch.where(grown, 235.0, 16.0) / 255, step


def apart(compute: Compute, reference: Compute, pictures: Sequence[Given]) -> tuple[float, float]:
    """The largest and the mean difference, in 8-bit codes."""
    found = [255 * (compute(*one).clamp(0, 1) - reference(*one).clamp(0, 1)).abs() for one in pictures]
    return max(float(one.max()) for one in found), statistics.fmean(float(one.mean()) for one in found)


def main() -> None:
    """Prints a line for each way to compute the network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photos", type=Path, help="folder of photographs for the ranges")
    parser.add_argument("frames", type=Path, help="folder of photographs for the differences")
    parser.add_argument("--model", default="asconvsr", help="shipped network or file (default: asconvsr)")
    given = parser.parse_args()
    network = load_model(given.model)
    photos, frames = read_lumas(given.photos, network), read_lumas(given.frames, network)
    [made] = made_pictures(*SIZE, 1)
    timed = (torch.from_numpy(made.planes[0]).float()[None, None] / 255, frames[1][1])

    def opened(name: RuntimeName, of: Network = network) -> Compute:
        compute = open_runtime(of, name, torch.device("cpu"))
        return lambda x, step: compute(x, None, step)

    constant = with_constant_kernels(network, timed)
    whole, fixed = opened("torch"), opened("torch", constant)
    ways: dict[str, tuple[Compute, Compute]] = {name: (opened(name), whole) for name in RUNTIMES}
    ways["torch-int8"] = (Int8Network(network, photos), whole)
    try:
        ways["openvino-int8"] = (by_nncf(network, photos), whole)
        ways["constant kernels, openvino-int8"] = (by_nncf(constant, photos), fixed)
        ways["constant kernels, openvino-bf16"] = (opened("openvino-bf16", constant), fixed)
    except ImportError as error:
        print(f"without NNCF: {error}")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    # By turns, and each by its best: other work on the machine comes and goes.
    for _ in range(TURNS):
        for name, (compute, _) in ways.items():
            began = time.process_time()
            compute(*timed)
            seconds[name].append(time.process_time() - began)
    print(f"{network.identity}, {SIZE[0]}x{SIZE[1]}, {torch.get_num_threads()} threads; {len(frames)} frames")
    print(f"{'':32}   ms  furthest   mean  squares, furthest")
    for name, (compute, reference) in ways.items():
        most, mean = apart(compute, reference, frames)
        hard, _ = apart(compute, reference, [squares(frames[0][1])])
        print(f"{name:32} {1000 * min(seconds[name]):5.1f} {most:9.2f} {mean:6.3f} {hard:8.2f}")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
