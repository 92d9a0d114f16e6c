"""The differentiable VMAF: bounded, with a gradient, and equal to libvmaf."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data as photographs

from scene.metrics.vmaf import NEG_GAIN_LIMIT, VMAF_GAIN_LIMIT, DifferentiableVmaf, bound_score
from scene.video.ffmpeg import find_ffmpeg


@pytest.fixture(scope="module")
def vmaf() -> DifferentiableVmaf:
    return DifferentiableVmaf()


def both(vmaf: DifferentiableVmaf, reference: torch.Tensor, distorted: torch.Tensor, motion: float) -> torch.Tensor:
    """(frames, 2): VMAF and VMAF_NEG."""
    ones = torch.ones(len(reference))
    limits = (VMAF_GAIN_LIMIT, NEG_GAIN_LIMIT)
    return torch.stack([vmaf(reference, distorted, motion * ones, g * ones) for g in limits], dim=1)


def pan(frames: int = 4, size: int = 192) -> torch.Tensor:
    """(frames, 1, size, size) limited-range luma codes of a moving photograph."""
    grey = photographs.camera()
    windows = [grey[100 + 2 * i : 100 + 2 * i + size, 120 + 3 * i : 120 + 3 * i + size] for i in range(frames)]
    return torch.from_numpy(np.stack(windows)[:, None].astype(np.float32) * 219 / 255 + 16).round()


def test_bounding_keeps_low_scores_and_caps_high_ones() -> None:
    scores = torch.tensor([20.0, 60.0, 90.0, 100.0, 130.0, 200.0], requires_grad=True)
    bounded = bound_score(scores)
    assert (bounded < 100.0 + 1e-4).all()
    assert (bounded[:2] - scores[:2]).abs().max() < 0.01
    bounded.sum().backward()
    assert scores.grad is not None
    assert scores.grad[0] == pytest.approx(1.0, abs=1e-3)
    assert scores.grad[3] == pytest.approx(0.5)
    assert 0 < scores.grad[4] < 1e-3
    assert (scores.grad.diff() <= 0).all()


def test_enhancement_raises_vmaf_and_not_neg(vmaf: DifferentiableVmaf) -> None:
    reference = pan()
    plain = both(vmaf, reference, reference, 4.0)
    contrasted = both(vmaf, reference, (reference - 128) * 1.2 + 128, 4.0)
    assert (contrasted - plain)[:, 0].min() > 5.0
    assert (contrasted - plain)[:, 1].max() < 0.5


def test_motion_depends_on_neighbours(vmaf: DifferentiableVmaf) -> None:
    frames = pan()
    still = vmaf.motion(frames, frames[None])
    moved = vmaf.motion(frames[1:3], torch.stack([frames[0:2], frames[2:4]]))
    assert still.abs().max() == 0
    assert moved.shape == (2,)
    assert (moved > 0.5).all()


def test_motion_raises_scores_by_several_points(vmaf: DifferentiableVmaf) -> None:
    reference = pan()
    distorted = (reference + 6 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255)
    assert (both(vmaf, reference, distorted, 8.0) - both(vmaf, reference, distorted, 0.0)).mean() > 3.0


def test_a_batch_may_mix_gain_limits(vmaf: DifferentiableVmaf) -> None:
    reference = pan()
    distorted = (reference - 128) * 1.1 + 128
    separate = both(vmaf, reference, distorted, 4.0)
    limits = torch.tensor([VMAF_GAIN_LIMIT, NEG_GAIN_LIMIT, VMAF_GAIN_LIMIT, NEG_GAIN_LIMIT])
    mixed = vmaf(reference, distorted, torch.full((4,), 4.0), limits)
    torch.testing.assert_close(mixed, separate[torch.arange(4), torch.tensor([0, 1, 0, 1])])


def test_the_gradient_is_finite_and_reaches_the_distorted_frame(vmaf: DifferentiableVmaf) -> None:
    reference = pan()
    distorted = (reference + 3.0 * torch.sin(torch.arange(192.0))).requires_grad_()
    both(vmaf, reference, distorted, 4.0).mean().backward()
    assert distorted.grad is not None
    assert torch.isfinite(distorted.grad).all()
    assert (distorted.grad.flatten(1).norm(dim=1) > 0).all()


def test_scores_are_libvmafs(vmaf: DifferentiableVmaf, tmp_path: Path) -> None:
    """Frame by frame, both models, on a noisy and blurred pan; facts of the two implementations allow 0.06."""
    reference = pan(frames=6, size=256)
    blurred = torch.nn.functional.avg_pool2d(reference, 3, stride=1, padding=1, count_include_pad=False)
    noise = 4 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(1))
    distorted = (0.5 * reference + 0.5 * blurred + noise).round().clamp(16, 235)
    for name, frames in (("ref", reference), ("dis", distorted)):
        chroma = bytes([128]) * (256 * 256 // 2)
        (tmp_path / f"{name}.yuv").write_bytes(b"".join(f.to(torch.uint8).numpy().tobytes() + chroma for f in frames))
    log = tmp_path / "vmaf.json"
    models = "version=vmaf_v0.6.1\\:name=vmaf\\:disable_clip=true|version=vmaf_v0.6.1neg\\:name=neg\\:disable_clip=true"
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "256x256", "-r", "25"]
    inputs = [word for name in ("dis", "ref") for word in (*raw, "-i", str(tmp_path / f"{name}.yuv"))]
    graph = f"[0:v][1:v]libvmaf=model='{models}':log_fmt=json:log_path={log}"
    find_ffmpeg().run([*inputs, "-lavfi", graph, "-f", "null", "-"])
    metrics = [frame["metrics"] for frame in json.loads(log.read_text())["frames"]]
    expected = torch.tensor([[frame["vmaf"], frame["neg"]] for frame in metrics])
    motion = torch.tensor([frame["integer_motion2"] for frame in metrics])
    for column, limit in enumerate((VMAF_GAIN_LIMIT, NEG_GAIN_LIMIT)):
        ours = vmaf(reference, distorted, motion, torch.full((6,), limit))
        torch.testing.assert_close(ours, expected[:, column], atol=0.06, rtol=0)
    inner = vmaf.motion(reference[1:-1], torch.stack([reference[:-2], reference[2:]]))
    torch.testing.assert_close(inner, motion[1:-1], atol=0.02, rtol=0)
