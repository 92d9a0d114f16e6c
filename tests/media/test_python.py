"""The library as Python programs use it: what docs/python.md shows, and frames of every kind."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from making import decoded, make_network, make_video

import scene
from scene.enhance import Enhancer
from scene.errors import InputError, UsageError
from scene.model import load_model
from scene.video.pixel_format import frame_picture, picture_format

ROOT = Path(__file__).parents[2]
PAGE, README = ROOT / "docs" / "python.md", ROOT / "README.md"


def snippets() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory):
    return Enhancer(load_model(make_network(tmp_path_factory.mktemp("network") / "n.safetensors")), device="cpu")


def batch(*shape):
    """Smooth colours with some noise, as integers of 8 bits."""
    noise = np.random.default_rng(0).integers(0, 30, shape)
    return (noise + np.linspace(20, 200, shape[2])[None, None, :, None]).astype(np.uint8)


def shown(word):
    """Runs the one snippet of the page that has this word; gives what it leaves."""
    (lines,) = (text for text in snippets() if word in text)

    def run_with(**names):
        exec(compile(lines, "python.md", "exec"), names)
        return names

    return run_with


def test_three_lines_enhance_a_batch():
    (lines,) = (text for text in snippets() if "enhance(frames)" in text)
    assert lines in README.read_text("utf-8")
    assert len([line for line in lines.splitlines() if line]) == 3
    frames = batch(2, 48, 64, 3)
    enhanced = shown("enhance(frames)")(frames=frames)["enhanced"]
    assert enhanced.shape == frames.shape and enhanced.dtype == np.uint8
    assert not np.array_equal(enhanced, frames)
    tensor = torch.from_numpy(frames)
    assert np.array_equal(shown("enhance(frames)")(frames=tensor)["enhanced"].numpy(), enhanced)


def test_the_pages_stream_keeps_every_frame(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "in.mkv", frames=3)
    enhanced = shown("video.decode")()["enhanced"]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0", "40", "80"]
    last = decoded(tmp_path / "in.mkv")[-1]
    luma = frame_picture(enhanced, picture_format(enhanced)).planes[0]
    assert enhanced.format.name == "yuv420p" and not np.array_equal(luma, last.planes[0])


def test_the_pages_model_is_the_one_it_names(capsys):
    shown("load_model(")()
    identity, parameters = capsys.readouterr().out.split()
    assert identity.startswith("asconvsr@") and int(parameters) == load_model("asconvsr").count_parameters()


def test_the_pages_encode_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "in.mkv", frames=3)
    result = shown("EncodeRequest")()["result"]
    assert result.frames == 3 and len(decoded(tmp_path / "out.mkv")) == 3
    assert capsys.readouterr().out.split() == ["3", str((tmp_path / "out.mkv").stat().st_size)]


def test_the_pages_evaluation_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_video(tmp_path / "in.mkv", frames=3, size=(224, 224))
    shown("EvaluationRequest")()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {(row[0], row[1]) for row in rows} == {("x264", "contrast"), ("x264", "scene")}
    (saving,) = (float(row[3]) for row in rows if row[1:3] == ["contrast", "vmaf"])
    assert saving < 0


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

    for tensor in (torch.from_numpy(frames), torch.from_numpy(frames).movedim(-1, 1)):
        changed = enhancer.enhance(tensor)
        assert (changed.shape, changed.dtype) == (tensor.shape, torch.uint8) and changed.is_contiguous()
        rows = changed if tensor.shape[-1] == 3 else changed.movedim(1, -1)
        assert np.array_equal(rows.numpy(), as_bytes)


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
        (torch.zeros(1, 8, 8, 4), "give \\(N, 3, H, W\\) or \\(N, H, W, 3\\)"),
        (torch.zeros(3, 8, 8), "give \\(N, 3, H, W\\) or \\(N, H, W, 3\\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int32), "uint8 or floats"),
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


def test_no_encoder_outlives_its_encode(tmp_path):
    """A program that encodes one file after the other holds one encoder's memory, not all of them."""
    source = make_video(tmp_path / "in.mkv", size=(640, 360), frames=2)

    def contexts() -> int:
        return sum(issubclass(type(thing), av.CodecContext) for thing in gc.get_objects())

    # Those of other tests.
    gc.collect()
    before = contexts()
    gc.disable()
    try:
        for number in range(2):
            request = scene.EncodeRequest(source, tmp_path / f"{number}.mkv", enhancement=scene.EnhanceOptions("none"))
            scene.encode(request)
        after = contexts()
    finally:
        gc.enable()
    assert after == before
