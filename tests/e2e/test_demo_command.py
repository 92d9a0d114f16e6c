"""`scene demo` with a tiny network, and its pieces."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from scene.cli import demo, main, sample
from scene.cli.sample import FRAMES, HEIGHT, WIDTH, make_sample, print_place, table_window
from scene.evaluation.visuals.still import read_frame
from scene.model import NetworkConfig, build_network, save_network
from scene.video.ffmpeg import FFmpeg
from scene.video.source.probe import probe


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an untrained network in it and with a cache of its own."""
    network = build_network(NetworkConfig(guidance="features", planes="luma", channels=8))
    save_network(network, tmp_path / "tiny.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # `main` installs a handler; this process keeps its own.
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as leaving:
        main(["demo", *arguments])
    out, err = capsys.readouterr()
    return int(leaving.value.code or 0), out, err


@pytest.mark.parametrize("frames", [8, pytest.param(sample.FRAMES, marks=pytest.mark.slow)])
def test_the_demo_leaves_what_it_says(
    frames: int,
    ffmpeg: FFmpeg,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sample, "FRAMES", frames)
    monkeypatch.setattr(demo, "_STILL_FRAME", frames - 1)
    for _ in range(2):
        # Running it again replaces its own files.
        code, out, err = run(capsys, "--model", "tiny.safetensors")
        assert code == 0, err
    folder = workplace / "scene-demo"
    listed = [workplace / line.strip() for line in out.partition("Files:")[2].splitlines() if line]
    assert {path.relative_to(folder).as_posix() for path in listed} == {
        *("source.mp4", "plain.mp4", "enhanced.mp4", "still.png"),
        *("results.json", "frames.json", "table.md", "plots/rd_x264.png", "report.html"),
    }
    assert all(path.stat().st_size > 100 for path in listed)
    points = json.loads((folder / "results.json").read_text())["points"]
    assert {point["method"] for point in points} == {"none", "contrast", "tiny"}
    assert {point["frames"] for point in points} == {frames}
    assert "| x264 | tiny |" in out
    assert out.startswith("At equal VMAF NEG source.mp4 needs ")
    # The product carries the sound over, and an untrained network changes no picture.
    pictures = [read_frame(ffmpeg, folder / f"{name}.mp4", 5, WIDTH, HEIGHT) for name in ("plain", "enhanced")]
    np.testing.assert_array_equal(*pictures)
    sound = ffmpeg.run(["-i", str(folder / "plain.mp4"), "-map", "0:a:0", "-f", "s16le", "-"]).stdout
    assert len(sound) >= 44100 * 2 * frames / sample.RATE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--out", "taken"], "not of a demo"), (["--out", "file"], "not a folder"), (["--model", "none"], "none")],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], says: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "taken").mkdir()
    (workplace / "taken" / "thesis.txt").write_text("mine")
    (workplace / "file").touch()
    model = [] if "--model" in arguments else ["--model", "tiny.safetensors"]
    code, out, err = run(capsys, *arguments, *model)
    assert (code, out) == (2, "")
    assert says in err
    assert list((workplace / "taken").iterdir()) == [workplace / "taken" / "thesis.txt"]


def test_the_sample_clip_has_two_planes_in_motion_and_new_noise_in_every_frame(
    ffmpeg: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = np.array([table_window(number) for number in range(FRAMES)])
    assert (boxes >= 0).all() and (boxes[:, 2] <= 600).all() and (boxes[:, 3] <= 400).all()
    places = np.array([print_place(number) for number in range(FRAMES)])
    # Half of the print's diagonal, and no plane jumps.
    assert (np.abs(places[:, :2] - (WIDTH / 2, HEIGHT / 2)) < (WIDTH / 2 - 60, HEIGHT / 2 - 60)).all()
    table, card = (np.abs(np.diff(moving[:, 0])) for moving in (boxes, places))
    assert 2 < table.min() <= table.max() < card.min() <= card.max() < 6
    make_sample(ffmpeg, tmp_path / "source.mp4")
    info = probe(tmp_path / "source.mp4")
    assert (info.format.width, info.format.height, info.rate, info.frames) == (WIDTH, HEIGHT, 24, FRAMES)
    assert (info.format.matrix, info.format.full_range) == ("bt709", False)
    monkeypatch.setattr(sample, "_NOISE", 0.0)
    monkeypatch.setattr(sample, "_COLOUR_NOISE", 0.0)
    make_sample(ffmpeg, tmp_path / "clean.mp4")
    noises = []
    for number in (10, 11):
        noisy, clean = (
            read_frame(ffmpeg, tmp_path / name, number, WIDTH, HEIGHT).astype(float).mean(axis=2)
            for name in ("source.mp4", "clean.mp4")
        )
        noises.append((noisy - clean).ravel())
    assert all(2 < noise.std() < 4 for noise in noises)
    assert abs(np.corrcoef(*noises)[0, 1]) < 0.1


@pytest.mark.slow
def test_the_network_wins_on_the_sample_where_a_contrast_knob_does_not(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys)
    assert code == 0, err
    assert re.match(r"At equal VMAF NEG source\.mp4 needs \d+\.\d % fewer bits; .*\n+With x264, use scene\.\n", out)
    rows = json.loads((workplace / "scene-demo" / "results.json").read_text())["bd_rate"]
    saved = {(row["method"], row["metric"]): row["percent"] for row in rows if row["clip"] == "mean"}
    assert saved["scene", "vmaf_neg"] < -6
    assert saved["scene", "vmaf_neg"] < saved["contrast", "vmaf_neg"] - 2
    assert saved["scene", "ms_ssim"] < -3 < 0 < saved["contrast", "ms_ssim"]
