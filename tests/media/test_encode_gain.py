"""What `scene encode` says that enhancement won, held against whole encodes and `scene compare`."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from making import encode, make_network
from skimage import data

import scene
from scene.cli import run
from scene.cli.encode_report import gain_sentences
from scene.jobs.gain import FRAMES, Gain, pooled, window_starts
from scene.metrics.rate_saving import RatePoint
from scene.training.data.pan import pan

SIZE = (384, 256)
ALONE = ("--preset", "ultrafast", "--encoder-args", "threads=1", "--crf", "30", "--device", "cpu")


def make_clip(path: Path, frames: int, size: tuple[int, int] = SIZE) -> Path:
    """A slow pan over a photograph, lossless."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for image in pan(data.astronaut(), frames, *size, seed=1):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mkv", FRAMES)


def measured(capfd: pytest.CaptureFixture[str], source: Path, *files: Path) -> list[dict]:
    assert run(["compare", str(source), *map(str, files), "--json"]) == 0
    return json.loads(capfd.readouterr().out)["points"]


def test_the_figures_at_the_same_crf_are_those_of_whole_encodes(clip, tmp_path, capfd):
    """Of a video that one window holds."""
    network = make_network(tmp_path / "net.safetensors")
    plain, changed = tmp_path / "plain.mkv", tmp_path / "changed.mkv"
    assert encode(clip, plain, *ALONE, "--model", "none", "--log-format", "json") == 0
    assert json.loads(capfd.readouterr().err.splitlines()[-1])["gain"] is None
    assert encode(clip, changed, *ALONE, "--model", network, "--log-format", "json") == 0
    gain = json.loads(capfd.readouterr().err.splitlines()[-1])["gain"]
    before, after = measured(capfd, clip, plain, changed)
    assert gain["frames"] == FRAMES
    for name in ("vmaf_neg", "ms_ssim", "psnr_y"):
        assert gain["changes"][name] == pytest.approx(after[name] - before[name], abs=0.002), name
    # But for x264's message with its settings.
    message = 0.7
    sizes = [point["bytes"] / 1000 - message for point in (before, after)]
    assert gain["rate_percent"] == pytest.approx(100 * (sizes[1] / sizes[0] - 1), abs=2)
    # A ruinous network.
    assert gain["changes"]["vmaf_neg"] < -5


def test_a_network_that_changes_nothing_wins_nothing(clip, tmp_path, capfd):
    network = make_network(tmp_path / "same.safetensors", identity=True)
    assert encode(clip, tmp_path / "out.mkv", *ALONE, "--model", network) == 0
    first, second, last = capfd.readouterr().err.splitlines()[-3:]
    assert first == "scene: At equal VMAF NEG this video needs as many bits as without; MS-SSIM 0.0 %, PSNR 0.0 %."
    assert second == ("scene: At the same CRF: VMAF NEG +0.00 with as many bits as x264 alone (12 frames were tried).")
    # The source's size stands there, and nothing is made of it.
    size = clip.stat().st_size / 1e6
    assert f" MB (source {size:.2f} MB), model same@" in last and "%" not in last


def test_guarded_shots_that_pass_through_count_as_they_are(clip, tmp_path, capfd):
    network = make_network(tmp_path / "net.safetensors")
    arguments = (*ALONE, "--model", network, "--guard", "--log-format", "json")
    assert encode(clip, tmp_path / "out.mkv", *arguments) == 0
    result = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert result["guard"]["passed"] == result["guard"]["shots"] == 1
    assert result["gain"]["rate_percent"] == 0 and set(result["gain"]["changes"].values()) == {0}


def test_the_pictures_that_are_compared_are_those_of_the_file(tmp_path):
    """Windows in the middle of a larger picture and of a longer video, by the library."""
    source = make_clip(tmp_path / "in.mkv", 40, (704, 400))
    network = make_network(tmp_path / "same.safetensors", identity=True)
    settings = scene.EncoderSettings("x264", 30, "ultrafast")
    request = scene.EncodeRequest(source, tmp_path / "a.mkv", settings, scene.EnhanceOptions(str(network)))
    assert scene.encode(request).gain is None
    compared = scene.EncodeRequest(
        source, tmp_path / "b.mkv", settings, scene.EnhanceOptions(str(network)), compare=True
    )
    gain = scene.encode(compared).gain
    assert gain is not None and gain.frames == FRAMES and gain.rate_percent == 0
    # It changes nothing of the file.
    with av.open(str(tmp_path / "a.mkv")) as a, av.open(str(tmp_path / "b.mkv")) as b:
        for one, other in zip(a.decode(video=0), b.decode(video=0), strict=True):
            assert np.array_equal(one.to_ndarray(), other.to_ndarray())


@pytest.mark.parametrize(
    "arguments",
    [("--no-compare",), ("--bitrate", 300), ("--encoder-args", "qp=0"), ("--encoder-args", "zones=0,5,q=9")],
)
def test_nothing_is_said_where_it_is_not_wanted_or_cannot_be_tried(clip, tmp_path, capfd, arguments):
    network = make_network(tmp_path / "same.safetensors", identity=True)
    options = ("--preset", "ultrafast", "--device", "cpu", "--model", network, *arguments)
    assert encode(clip, tmp_path / "out.mkv", *options) == 0
    assert "At " not in capfd.readouterr().err


def test_no_ffmpeg_is_no_reason_to_fail(clip, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("SCENE_FFMPEG", str(tmp_path / "none"))
    network = make_network(tmp_path / "same.safetensors", identity=True)
    assert encode(clip, tmp_path / "out.mkv", *ALONE, "--model", network) == 0
    assert "At " not in capfd.readouterr().err


def test_where_windows_lie():
    assert window_starts(None) == (0, 240, 2400)
    assert window_starts(5) == window_starts(12) == (0,)
    assert window_starts(40) == (14,)
    assert window_starts(600) == (94, 294, 494)


def test_windows_are_pooled_over_their_frames():
    points = [RatePoint(1000, {"vmaf_neg": 90.0}), RatePoint(500, {"vmaf_neg": 80.0})]
    assert pooled(points, [12, 4]) == RatePoint(1500, {"vmaf_neg": 87.5})


@pytest.mark.parametrize(
    ("rate", "change", "equal", "first", "second"),
    [
        (
            *(3.04, 1.417, -8.12, "At equal VMAF NEG this video needs 8.1 % fewer bits."),
            "At the same CRF the gain is quality: VMAF NEG +1.42 with 3.0 % more bits than x265 alone "
            "(36 frames were tried); for a smaller file raise --crf, or give --target.",
        ),
        (
            *(-5.0, -0.9, 4.0, "At equal VMAF NEG this video needs 4.0 % more bits."),
            "At the same CRF: VMAF NEG -0.90 with 5.0 % fewer bits than x265 alone (36 frames were tried).",
        ),
    ],
)
def test_the_sentences(rate, change, equal, first, second):
    gain = Gain(36, rate, {"vmaf_neg": change}, {"vmaf_neg": equal})
    assert gain_sentences(gain, "x265") == [first, second]
    nothing = gain_sentences(Gain(36, rate, {"vmaf_neg": change}, {}), "x265")[0]
    assert nothing.startswith("At equal VMAF NEG nothing can be said of this video")
