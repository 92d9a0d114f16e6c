"""The library as Python programs use it: what the README shows, and frames of every kind."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from making import decoded, make_network, make_video

from scene.enhance import Enhancer
from scene.errors import InputError, UsageError
from scene.model import load_model

README = Path(__file__).parents[2] / "README.md"


def snippets() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory):
    return Enhancer(load_model(make_network(tmp_path_factory.mktemp("network") / "n.safetensors")), device="cpu")


def batch(*shape):
    """Smooth colours with some noise, as integers of 8 bits."""
    noise = np.random.default_rng(0).integers(0, 30, shape)
    return (noise + np.linspace(20, 200, shape[2])[None, None, :, None]).astype(np.uint8)


def test_three_lines_of_the_readme_enhance_a_batch():
    (lines,) = (text for text in snippets() if "enhance(frames)" in text)
    assert len([line for line in lines.splitlines() if line]) == 3
    frames = batch(2, 48, 64, 3)
    names = {"frames": frames}
    exec(lines, names)
    assert names["enhanced"].shape == frames.shape and names["enhanced"].dtype == np.uint8
    assert not np.array_equal(names["enhanced"], frames)


def test_the_readmes_encode_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "in.mkv", frames=3)
    (lines,) = (text for text in snippets() if "EncodeRequest" in text)
    names = {}
    exec(lines, names)
    assert names["result"].frames == 3 and len(decoded(tmp_path / "out.mkv")) == 3


def test_arrays_of_all_kinds_are_enhanced_alike(enhancer):
    frames = batch(3, 32, 40, 3)
    given = frames.copy()
    as_bytes = enhancer.enhance(frames)
    assert np.array_equal(frames, given) and not np.array_equal(as_bytes, frames)
    as_words = enhancer.enhance(frames.astype(np.uint16) * 257)
    assert as_words.dtype == np.uint16
    assert np.abs(as_words / 257 - as_bytes).max() <= 0.51
    for dtype in (np.float16, np.float32, np.float64):
        as_floats = enhancer.enhance((frames / 255).astype(dtype))
        assert as_floats.dtype == dtype
        assert np.abs(as_floats * 255.0 - as_words / 257).max() <= (0.2 if dtype == np.float16 else 0.01)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        tensor = torch.from_numpy(frames / 255).movedim(-1, 1).to(dtype)
        changed = enhancer.enhance(tensor)
        assert (changed.shape, changed.dtype, changed.device) == (tensor.shape, tensor.dtype, tensor.device)
        expected = torch.from_numpy(as_words / 65535).movedim(-1, 1)
        assert (changed.double() - expected).abs().max() < (0.01 if dtype == torch.bfloat16 else 1e-4)


def test_a_network_that_changes_nothing_gives_the_same_numbers(tmp_path):
    same = Enhancer(load_model(make_network(tmp_path / "same.safetensors", identity=True)), device="cpu")
    values = np.random.default_rng(1).random((2, 16, 16, 3), dtype=np.float32)
    assert np.array_equal(same.enhance(values), values)
    tensor = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    assert torch.equal(same.enhance(tensor), tensor)
    assert same.enhance(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, 8, 8, 3)
    assert same.enhance([]) == []


@pytest.mark.parametrize(
    "frames,message",
    [
        (np.zeros((8, 8, 3), np.uint8), "give \\(N, H, W, 3\\)"),
        (np.zeros((1, 3, 8, 8), np.uint8), "give \\(N, H, W, 3\\)"),
        (np.zeros((1, 8, 8, 3), np.int32), "int32"),
        (np.full((1, 8, 8, 3), np.nan), "not finite"),
        (torch.zeros(1, 8, 8, 3), "give \\(N, 3, H, W\\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "floats"),
        ([np.zeros((8, 8, 3), np.uint8)], "hold a ndarray"),
    ],
)
def test_other_frames_are_refused(enhancer, frames, message):
    with pytest.raises(UsageError, match=message):
        enhancer.enhance(frames)


def test_frames_of_pyav_keep_their_times_and_tags(tmp_path, enhancer):
    with av.open(str(make_video(tmp_path / "in.mkv", frames=3, pix_fmt="yuv420p10le", colour=(9, 16, 9, 1)))) as file:
        frames = list(file.decode(video=0))
    before = [frame.to_ndarray() for frame in frames]
    made = enhancer.enhance(frames)
    for old, new, kept in zip(frames, made, before, strict=True):
        assert np.array_equal(old.to_ndarray(), kept) and not np.array_equal(new.to_ndarray(), kept)
        for name in ("pts", "time_base", "duration", "colorspace", "color_range", "color_primaries", "color_trc"):
            assert getattr(old, name) == getattr(new, name), name
        assert new.format.name == "yuv420p10le"


def test_interleaved_frames_become_planar_and_others_are_refused(enhancer):
    frame = av.VideoFrame.from_ndarray(batch(1, 32, 40, 3)[0], format="rgb24")
    (made,) = enhancer.enhance([frame])
    assert made.format.name == "gbrp"
    assert np.array_equal(made.to_ndarray(format="rgb24"), enhancer.enhance(batch(1, 32, 40, 3))[0])
    with pytest.raises(InputError, match="alpha"):
        enhancer.enhance([av.VideoFrame(16, 16, "yuva420p")])
