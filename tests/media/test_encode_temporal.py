"""`scene encode`, `filter` and `search` with a model that filters along the motion: frames, times, guard, options."""

import subprocess
import sys

import av
import numpy as np
import pytest
from making import assert_same_times, decoded, encode
from skimage import data

import scene
from scene.cli import run
from scene.enhance import open_enhancer
from scene.model import Calibration, NetworkConfig, build_network, save_network
from scene.model.calibration import Bank
from scene.picture import Picture, PictureFormat
from scene.training.data.pan import pan

SIZE = (384, 256)
BANK = Bank(gain=(-0.05, 0.08, 0.05, 0.0, 0.0))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    network = build_network(NetworkConfig(guidance="features", planes="luma", body=False, quantiser=(0.5, 1000.0)))
    network.calibrations = {name: Calibration((8.0, 0.3), BANK) for name in ("x264", "x265", "svtav1")}
    path = tmp_path_factory.mktemp("model") / "lite.safetensors"
    save_network(network, path)
    return path


def make_clip(path, photos, frames=11, pix_fmt="yuv420p"):
    """Slow pans with noise, one after the other, at a variable rate."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = pix_fmt
        number = 0
        for photo in photos:
            for image in pan(photo, frames, *SIZE, seed=1):
                noisy = np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(noisy, format="rgb24").reformat(format=pix_fmt)
                frame.pts = number * 3 + number % 2
                number += 1
                out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mkv", [data.astronaut(), data.coffee()])


def lumas(path):
    return [shown.planes[0] for shown in decoded(path)]


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_no_frame_and_no_time_changes(codec, clip, model, tmp_path):
    out = tmp_path / "out.mkv"
    assert encode(clip, out, "--model", model, "--codec", codec, "--crf", 20) == 0
    assert_same_times(decoded(clip), decoded(out))


def test_ten_bit_444_is_filtered(model, tmp_path):
    source = make_clip(tmp_path / "in.mkv", [data.astronaut()], pix_fmt="yuv444p10le")
    out = tmp_path / "out.mkv"
    assert encode(source, out, "--model", model, "--crf", 20) == 0
    assert_same_times(decoded(source), decoded(out))
    assert decoded(out)[0].planes[2].shape == decoded(source)[0].planes[0].shape


def test_the_noise_goes_and_can_be_kept(clip, model, tmp_path):
    """At a fine quantiser, of the first frame: auto sees those to come, causal has none before."""
    results = {}
    for mode in ("auto", "causal", "off"):
        out = tmp_path / f"{mode}.y4m"
        assert run(["filter", str(clip), str(out), "--model", str(model), "--crf", "20", "--temporal", mode]) == 0
        results[mode] = lumas(out)
    assert np.array_equal(results["causal"][0], results["off"][0])
    assert not np.array_equal(results["auto"][0], results["off"][0])
    assert not np.array_equal(results["causal"][4], results["off"][4])
    # Between two filtered frames nothing but the bank changes anything.
    for number in (1, 2, 3):
        assert np.array_equal(results["auto"][number], results["off"][number])


def enhanced_apart(path, model, crf):
    """Luma of the video's frames from pictures that nothing else writes to."""
    enhancer = open_enhancer(scene.EnhanceOptions(str(model)), codec="x264", crf=crf)
    fmt = PictureFormat(*SIZE)
    planes = (shown.planes for shown in decoded(path))
    pictures = (Picture(fmt, tuple(np.array(plane, np.uint8) for plane in own)) for own in planes)
    return [picture.planes[0] for picture in enhancer.stream(pictures)]


@pytest.mark.parametrize("way", ["encode", "filter", "nut"])
def test_neighbours_are_the_sources_and_not_what_became_of_them(way, clip, model, tmp_path):
    """Frames are enhanced in place: of the clip's 22, frames 4 and 8 of each shot look back."""
    if way == "encode":
        out = tmp_path / "out.mkv"
        lossless = ("--encoder-args", "qp=0")
        assert encode(clip, out, "--model", model, "--crf", 20, *lossless) == 0
    elif way == "filter":
        out = tmp_path / "out.y4m"
        assert run(["filter", str(clip), str(out), "--model", str(model), "--crf", "20"]) == 0
    else:
        raw, out = tmp_path / "raw.nut", tmp_path / "out.nut"
        with av.open(str(clip)) as source, av.open(str(raw), "w") as target:
            stream = target.add_stream("rawvideo", rate=25)
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            for frame in source.decode(video=0):
                target.mux(stream.encode(frame))
            target.mux(stream.encode())
        with raw.open("rb") as stdin, out.open("wb") as stdout:
            command = [sys.executable, "-m", "scene", "filter", "-", "-", "--model", str(model), "--crf", "20"]
            subprocess.run(command, stdin=stdin, stdout=stdout, check=True)
    for made, wanted in zip(lumas(out), enhanced_apart(clip, model, 20), strict=True):
        assert np.array_equal(made, wanted)


def test_strength_nought_is_the_source(clip, model, tmp_path):
    out = tmp_path / "out.y4m"
    assert run(["filter", str(clip), str(out), "--model", str(model), "--crf", "20", "--strength", "0"]) == 0
    assert all(np.array_equal(a, b) for a, b in zip(lumas(out), lumas(clip), strict=True))


def test_the_guard_judges_what_the_temporal_filter_made(clip, model, tmp_path, capfd):
    out = tmp_path / "out.mkv"
    assert encode(clip, out, "--model", model, "--crf", 28, "--guard") == 0
    assert_same_times(decoded(clip), decoded(out))
    said = capfd.readouterr().err
    assert "shot at frame 0" in said and "shot at frame 11" in said


def test_a_search_enhances_its_samples_alike(clip, model, tmp_path):
    assert run(["search", str(clip), "--target", "vmaf-neg=80", "--model", str(model)]) == 0
