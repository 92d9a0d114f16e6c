"""A process of its own for what OpenVINO computes: its threads and buffers stay out of the other tests' process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from scene.model import Network, NetworkConfig, build_network
from scene.runtimes import open_runtime

CPU = torch.device("cpu")


def changing_network(**changes: object) -> Network:
    settings: dict[str, object] = {"guidance": "embedding", "planes": "luma", "channels": 4, "kernels": 2}
    settings |= {"embedding_width": 8, "semantic_hidden": 8, "quantiser": (6.0, 60.0)}
    network = build_network(NetworkConfig(**{**settings, **changes}), seed=1)
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    network.references = torch.randn(2, 8, 1, 1)
    return network


def inputs(size: tuple[int, int] = (80, 96)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.rand(1, 1, *size, generator=generator),
        torch.randn(1, 8, 1, 1, generator=generator),
        torch.tensor([20.0]),
    )


def computes_what_torch_does(cache: Path) -> None:
    network = changing_network().eval()
    compute = open_runtime(network, "openvino", CPU)
    # Sizes come and go, and one of several pictures has its own embedding.
    for size in ((80, 96), (66, 130), (80, 96)):
        x, embedding, step = inputs(size)
        with torch.inference_mode():
            expected = network(x, embedding, step)
            assert float((expected - x).abs().mean()) > 0.01
            assert torch.allclose(compute(x, embedding, step), expected.clamp(0, 1), atol=1e-4)
            pair, two = torch.cat([x, x.flip(-1)]), torch.cat([embedding, -embedding])
            assert torch.allclose(compute(pair, two, step), network(pair, two, step).clamp(0, 1), atol=1e-4)
    # The graph is made once.
    kept = {path.name: path.stat().st_mtime_ns for path in (cache / "openvino").iterdir()}
    assert sorted(Path(name).suffix for name in kept) == [".bin", ".xml"]
    again = open_runtime(network, "openvino", CPU)
    x, embedding, step = inputs()
    assert torch.equal(again(x, embedding, step), compute(x, embedding, step))
    assert {path.name: path.stat().st_mtime_ns for path in (cache / "openvino").iterdir()} == kept
    # One that was cut off is made again.
    description = next((cache / "openvino").glob("*.xml"))
    description.write_text(description.read_text()[:500])
    mended = open_runtime(network, "openvino", CPU)
    assert torch.equal(mended(x, embedding, step), compute(x, embedding, step))


def other_weights_have_another_graph(cache: Path) -> None:
    network = changing_network(guidance="features").eval()
    x, _, step = inputs()
    one = open_runtime(network, "openvino", CPU)(x, None, step)
    with torch.no_grad():
        next(network.parameters()).mul_(1.5)
    other = open_runtime(network, "openvino", CPU)(x, None, step)
    assert not torch.equal(one, other) and len(list((cache / "openvino").glob("*.xml"))) == 2


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(os.environ["XDG_CACHE_HOME"]) / "scene")
