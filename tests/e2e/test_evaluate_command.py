"""`scene evaluate` as a user runs it: files, exit codes, odd names, interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pan_clip import write_pan

from scene.cli import main
from scene.evaluation.tuning import CANDIDATES
from scene.metrics.scores import BD_METRICS
from scene.model import NetworkConfig, build_network, save_network
from scene.video.ffmpeg import FFmpeg, input_name

SMALL = ["--codecs", "x264", "--preset", "veryfast", "--frames", "4"]


def start(*arguments: str | bytes | Path, folder: Path, **environment: str) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "scene", "evaluate", *arguments],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "tmp")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str | bytes | Path, folder: Path, **environment: str) -> tuple[int, str, str]:
    process = start(*arguments, folder=folder, **environment)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert list((folder / "tmp").iterdir()) == []
    return process.returncode, out, err


def test_an_evaluation_leaves_results_table_and_figure(pan: Path, tmp_path: Path) -> None:
    network = build_network(NetworkConfig(guidance="features", planes="luma", channels=8))
    save_network(network, tmp_path / "tiny.safetensors")
    arguments = [pan, *SMALL, "--models", "contrast,tiny.safetensors", "--crf", "20,27,34,41"]
    code, out, err = run(*arguments, "--out", "out", folder=tmp_path)
    assert code == 0, err
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {point["method"] for point in document["points"]} == {"none", "contrast", "tiny"}
    # An untrained network changes nothing, so its curve is the anchor's.
    tiny = [r["percent"] for r in document["bd_rate"] if r["method"] == "tiny" and r["clip"] == "mean"]
    assert tiny == [pytest.approx(0)] * len(BD_METRICS)
    assert (tmp_path / "out" / "table.md").read_text() == out
    assert (tmp_path / "out" / "plots" / "rd_x264.png").read_bytes()[:4] == b"\x89PNG"
    frames = json.loads((tmp_path / "out" / "frames.json").read_text())["frames"]
    assert [len(entry["scores"]["vmaf"]) for entry in frames] == [4] * 12
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.startswith("<!doctype html>") and "tiny" in page
    # Twelve points, and two methods that do something to the clip's pictures.
    assert "14/14 points" in err
    again, out_again, err = run(*arguments, "--out", "out", "--log-format", "json", folder=tmp_path)
    assert again == 0
    last = {event["task"]: event for event in map(json.loads, err.splitlines())}
    assert {task: event["cached"] for task, event in last.items()} == {"evaluate": 14, "report": 1}
    assert document["timing"]["points"] == 12
    repeated = json.loads((tmp_path / "out" / "results.json").read_text())
    assert repeated["timing"] is None
    assert repeated["bd_rate"] == document["bd_rate"]
    assert table(out_again) == table(out)


def test_a_network_that_is_told_the_quantiser_is_evaluated_at_each_crf(pan: Path, tmp_path: Path) -> None:
    config = NetworkConfig(guidance="features", planes="luma", channels=8, quantiser=(6, 60))
    save_network(build_network(config), tmp_path / "told.safetensors")
    arguments = [pan, *SMALL, "--models", "told.safetensors", "--crf", "20,27,34,41", "--log-format", "json"]
    code, _, err = run(*arguments, folder=tmp_path)
    assert code == 0, err
    document = json.loads((tmp_path / "scene-evaluation" / "results.json").read_text())
    # Untrained, it changes nothing at any step.
    rates = {name: [p["bytes"] for p in document["points"] if p["method"] == name] for name in ("none", "told")}
    assert rates["told"] == rates["none"]
    # Eight points and the treatment.
    code, _, err = run(*arguments, folder=tmp_path)
    last = {event["task"]: event for event in map(json.loads, err.splitlines())}
    assert {task: event["cached"] for task, event in last.items()} == {"evaluate": 9, "report": 1}


def table(text: str) -> list[str]:
    """The rows of all tables."""
    return [line for line in text.splitlines() if line.startswith("|")]


PROTOCOL = """
methods = ["none", "contrast:tuned", "svtav1:vmaf"]
[clips]
title = "two clips"
source = "made in the test"
names = ["Day", "Night"]
files = ["{name}_320x240_*fps_420_8bit_YUV.yuv", "{name}_320x240_*fps_420_10bit_YUV.yuv"]
[clips.also]
Night = "Evening"
[reference]
frames = 3
[codecs.x264]
preset = "veryfast"
crf = [22, 28, 34, 40]
[codecs.svtav1]
preset = "12"
"""


def test_what_a_protocol_halves_to_less_than_the_metrics_need_is_refused(
    pan: Path, ffmpeg: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    halving = PROTOCOL.replace("frames = 3", "frames = 3\nhalve_above = 200")
    (tmp_path / "p.toml").write_text(halving)
    clip = tmp_path / "clip.y4m"
    ffmpeg.run(["-i", input_name(pan), "-vf", "scale=320:240", input_name(clip)])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as leaving:
        main(["evaluate", str(clip), "--protocol", str(tmp_path / "p.toml"), "--out", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert (leaving.value.code, out) == (3, "")
    assert "clip.y4m: pictures of 160x120 are too small to be measured" in err
    assert not (tmp_path / "out").exists()


def test_a_protocol_is_carried_out_and_the_command_line_goes_before_it(
    pan: Path, ffmpeg: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.toml").write_text(PROTOCOL)
    data = tmp_path / "data"
    data.mkdir()
    for name, pixels in (("Day_320x240_25fps_420_8bit", "yuv420p"), ("Evening_320x240_50fps_420_10bit", "yuv420p10le")):
        raw = data / f"{name}_YUV.yuv"
        scaled = ["-vf", "scale=320:240", "-pix_fmt", pixels, "-f", "rawvideo"]
        ffmpeg.run(["-i", input_name(pan), *scaled, input_name(raw)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    # Two candidates in the place of seven.
    settings = ("contrast:1.02", "contrast:1.06")
    monkeypatch.setitem(CANDIDATES, "contrast:tuned", settings)  # type: ignore[arg-type]
    options = ["--codecs", "x264", "--filter", "same=cat", "--against", "contrast:tuned", "--out", "out"]
    with pytest.raises(SystemExit) as leaving:
        main(["evaluate", "--protocol", "p.toml", "--data", "data", *options])
    out, err = capsys.readouterr()
    assert leaving.value.code == 0, err
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [clip["fps"] for clip in document["environment"]["clips"]] == [25, 50]
    points = document["points"]
    assert {(point["bit_depth"], point["frames"]) for point in points} == {(8, 3), (10, 3)}
    # The tune of SVT-AV1 goes with SVT-AV1.
    assert {(point["codec"], point["method"]) for point in points} == {
        ("x264", method) for method in ("none", "contrast:tuned", "same")
    }
    identities = {entry["method"]: entry["identity"] for entry in document["environment"]["methods"]}
    assert identities["contrast:tuned"] in settings
    assert identities["same"].startswith("command:cat:")
    same = [row["percent"] for row in document["bd_rate"] if row["method"] == "same" and row["anchor"] == "none"]
    assert same == [pytest.approx(0)] * 3 * len(BD_METRICS)
    assert any(row["anchor"] == "contrast:tuned" for row in document["bd_rate"])
    assert f"contrast:tuned is {identities['contrast:tuned']}" in out
    assert "tune: " in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "at least one clip"),
        (["--protocol", "gone.toml"], 3, "gone.toml cannot be read"),
        (["--protocol", "p.toml"], 2, "give two clips with --data FOLDER"),
        (["--protocol", "p.toml", "--data", "."], 3, "lacks 2 of 2 clips: Day_320x240_*fps_420_8bit_YUV.yuv, Night_"),
        (["--protocol", "p.toml", "--data", ".", "rubbish.mp4"], 2, "not both"),
        (["--data", "."], 2, "--protocol"),
        (["rubbish.mp4", "--filter", "own"], 2, "NAME=PROGRAM ARGUMENTS"),
        (["rubbish.mp4", "--filter", "own=no-such-program"], 6, "'no-such-program' is not a program"),
        (["rubbish.mp4", "--against", "contrast"], 2, "--against 'contrast' is not among the methods"),
        (["rubbish.mp4", "--models", "svtav1:vmaf"], 2, "svtav1:vmaf is for svtav1"),
        (["rubbish.mp4", "--codecs", "vvenc", "--crf", "30.5"], 2, "none of vvenc's QPs, which are whole"),
        (["rubbish.mp4", "--codecs", "svtav1", "--crf", "30.3"], 2, "give a multiple of 0.25"),
        (["raw.yuv"], 3, "name it like NAME_1920x1080"),
        (["missing.mp4"], 3, "missing.mp4 does not exist"),
        (["rubbish.mp4"], 3, "rubbish.mp4"),
        (["rubbish.mp4", "--models", "nonsense"], 2, "method 'nonsense' is unknown"),
        (["rubbish.mp4", "--models", "contrast:x"], 2, "'contrast:x'"),
        (["rubbish.mp4", "--models", "gone.safetensors"], 3, "gone.safetensors does not exist"),
        (["rubbish.mp4", "--codecs", "vp9"], 2, "codec 'vp9' is unknown"),
        (["rubbish.mp4", "--crf", "18,x"], 2, "'18,x' is no list of CRFs"),
        (["rubbish.mp4", "--crf", "18,99"], 2, "CRF 99 is not in x264's range"),
        (["rubbish.mp4", "--frames", "0"], 2, "--frames"),
    ],
)
def test_errors_have_their_exit_code(
    arguments: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "rubbish.mp4").write_bytes(os.urandom(2000))
    (tmp_path / "raw.yuv").write_bytes(bytes(2000))
    (tmp_path / "p.toml").write_text(PROTOCOL)
    monkeypatch.chdir(tmp_path)
    # `main` installs a handler; this process keeps its own.
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    models = [] if "--models" in arguments else ["--models", "none"]
    with pytest.raises(SystemExit) as leaving:
        main(["evaluate", *arguments, *models])
    out, err = capsys.readouterr()
    assert (leaving.value.code, out) == (code, "")
    assert says in err
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="file names are not bytes there")
def test_file_names_are_only_names(pan: Path, tmp_path: Path) -> None:
    names = [b"-x.y4m", b"a;touch b;$(id) '\"%03d.y4m", b"concat:x.y4m", b"line\nbreak.y4m", b"\xff\xfe.y4m"]
    for index, name in enumerate(names):
        write_pan(tmp_path / os.fsdecode(name), 3, first=index)
    before = set(tmp_path.iterdir())
    options = ["--codecs", "x264", "--models", "none", "--crf", "40", "--out", "out"]
    code, out, err = run(*options, "--", *names, folder=tmp_path)
    assert code == 0, err
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"tmp", "cache", "out"}
    points = json.loads((tmp_path / "out" / "results.json").read_text())["points"]
    assert len({point["clip"] for point in points}) == len(names)
    assert "line\ufffdbreak.y4m" in out


def fake_ffmpeg(path: Path, ffmpeg: FFmpeg, behaviour: str) -> Path:
    """A program that acts like the real ffmpeg but for what `behaviour`, a shell snippet, does first."""
    path.write_text(f"#!/bin/sh\n{behaviour}\nexec '{ffmpeg.path}' \"$@\"\n")
    path.chmod(0o755)
    return path


def test_an_ffmpeg_without_libvmaf_is_missing_something(pan: Path, ffmpeg: FFmpeg, tmp_path: Path) -> None:
    fake = fake_ffmpeg(tmp_path / "fake", ffmpeg, 'case "$*" in *-filters*) exit 0;; esac')
    code, _, err = run(pan, *SMALL, "--models", "none", "--ffmpeg", fake, folder=tmp_path)
    assert code == 6
    assert "without libvmaf" in err


def test_an_ffmpeg_without_its_own_encoder_is_missing_something(pan: Path, ffmpeg: FFmpeg, tmp_path: Path) -> None:
    fake = fake_ffmpeg(tmp_path / "fake", ffmpeg, 'case "$*" in *libvvenc*) exit 1;; esac')
    options = ["--models", "none", "--codecs", "vvenc"]
    code, _, err = run(pan, *options, folder=tmp_path, SCENE_FFMPEG=str(fake))
    assert code == 6
    assert "vvenc" in err


def test_a_failed_point_is_reported_and_the_rest_is_kept(pan: Path, ffmpeg: FFmpeg, tmp_path: Path) -> None:
    fake = fake_ffmpeg(tmp_path / "fake", ffmpeg, 'case "$*" in *"-qp 34"*) echo broken >&2; exit 9;; esac')
    grid = ["--models", "contrast", "--codecs", "vvenc", "--frames", "2", "--crf", "22,27,34,41", "--out", "out"]
    code, out, err = run(pan, *grid, folder=tmp_path, SCENE_FFMPEG=str(fake))
    assert code == 1
    assert "2 of 8 points could not be measured" in err
    assert "trying once more" in err
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [point["crf"] for point in document["points"]] == [22, 27, 41] * 2
    assert "broken" in document["failures"][0]["reason"]
    assert "2 points could not be measured" in out


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_evaluation_goes_on_where_it_was(
    number: signal.Signals, code: int, pan: Path, tmp_path: Path
) -> None:
    # Its encoder hangs: the interruption comes while it is waited for.
    options = [pan, *SMALL, "--models", "none", "--crf", "20,23,26,29,32,35,38,41", "--jobs", "1", "--out", "out"]
    process = start(*options, folder=tmp_path)
    deadline = time.monotonic() + 60
    while len(measured(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    (child,) = encoders_of(process.pid)
    os.kill(child, signal.SIGSTOP)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert not Path(f"/proc/{child}").exists()
    assert list((tmp_path / "tmp").iterdir()) == []
    known = len(measured(tmp_path))
    assert 2 <= known < 8
    assert not (tmp_path / "out").exists()
    again, _, err = run(*options, folder=tmp_path)
    assert again == 0
    assert f"cached {known}" in err


def measured(folder: Path) -> list[Path]:
    """What is in the cache."""
    return list((folder / "cache").rglob("*.json"))


def encoders_of(parent: int) -> list[int]:
    """The processes that encode for a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text().rpartition(")")[2]
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(rest.split()[1]) == parent and b"encoding.isolated" in command:
            found.append(int(stat.parent.name))
    return found
