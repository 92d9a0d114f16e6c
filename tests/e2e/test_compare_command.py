"""`scene compare` as a user runs it: table, JSON, report, alignment, odd files and odd names."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pan_clip import write_pan

import scene
from scene.cli import main
from scene.measure.point import compare
from scene.measure.raw_video import count_raw_video
from scene.metrics.scores import METRICS
from scene.video.ffmpeg import FFmpeg

FRAMES = 12


@pytest.fixture(scope="module")
def encodes(pan: Path, ffmpeg: FFmpeg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with encodes of the pan: elementary, in MP4 with a tone, AV1, 10 bit in Matroska."""
    folder = tmp_path_factory.mktemp("encodes")
    x264 = ["-c:v", "libx264", "-crf", "30", "-threads", "1"]
    ffmpeg.run(["-i", str(pan), *x264, str(folder / "plain.h264")])
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=0.48", "-c:a", "aac"]
    ffmpeg.run(["-i", str(pan), *tone, *x264, str(folder / "sound.mp4")])
    ffmpeg.run(["-i", str(pan), "-c:v", "libsvtav1", "-crf", "50", "-preset", "10", str(folder / "film.mkv")])
    deep = ["-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-crf", "16", "-x265-params", "log-level=error"]
    ffmpeg.run(["-i", str(pan), *deep, str(folder / "deep.mkv")])
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs the command in this process; gives its exit code, standard output and standard error."""
    private = tmp_path / "tmp"
    private.mkdir()
    monkeypatch.setenv("TMPDIR", str(private))
    monkeypatch.setattr("tempfile.tempdir", None)
    # `main` installs a handler; this process keeps its own.
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as leaving:
            main(["compare", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert list(private.iterdir()) == []
        return int(leaving.value.code or 0), out, err

    return call


def points(out: str) -> dict[str, dict]:
    return {point["method"]: point for point in json.loads(out)["points"]}


def test_a_comparison_prints_a_table_and_leaves_a_report(run, pan: Path, encodes: Path, tmp_path: Path) -> None:
    files = [encodes / name for name in ("plain.h264", "film.mkv")]
    code, out, err = run(pan, *files, "--out", tmp_path / "out")
    assert code == 0, err
    assert "2/2 files" in err
    rows = [line for line in out.splitlines() if line.startswith("| ")]
    assert [row.split()[1] for row in rows[2:]] == ["plain.h264", "film.mkv"]
    assert all(metric.title in rows[0] for metric in METRICS)
    assert len({len(row) for row in rows}) == 1
    assert "12 frames of 320x192 at 8 bit" in out
    folder = tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("frames.json", "report.html", "results.json", "table.md")
    ]
    assert (folder / "table.md").read_text() == out
    document = json.loads((folder / "results.json").read_text())
    assert document["format"] == 1
    assert [point["codec"] for point in document["points"]] == ["h264", "av1"]
    assert {point["crf"] for point in document["points"]} == {None}
    assert document["bd_rate"] == document["equal_crf"] == document["treatments"] == document["failures"] == []
    assert document["environment"]["command"]
    frames = json.loads((folder / "frames.json").read_text())["frames"]
    assert [len(entry["scores"]["vmaf"]) for entry in frames] == [FRAMES, FRAMES]
    page = (folder / "report.html").read_text()
    assert page.count("data:image/webp") >= 4


def test_the_scores_are_those_of_the_grid(run, pan: Path, encodes: Path, ffmpeg: FFmpeg, tmp_path: Path) -> None:
    code, out, _ = run(pan, encodes / "plain.h264", "--json")
    assert code == 0
    own = compare(ffmpeg, encodes / "plain.h264", count_raw_video(pan, "bt601"), folder=tmp_path).scores
    (point,) = points(out).values()
    for name in ("vmaf", "vmaf_clipped", "vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y", "xpsnr_y", "cambi", "flicker"):
        assert point[name] == getattr(own, name), name
    assert point["frames"] == FRAMES


def test_the_rate_is_that_of_the_video_alone(run, pan: Path, encodes: Path) -> None:
    _, out, _ = run(pan, encodes / "plain.h264", encodes / "sound.mp4", "--json")
    bare, packed = points(out).values()
    assert bare["bytes"] == (encodes / "plain.h264").stat().st_size
    assert bare["kbps"] == pytest.approx(bare["bytes"] * 8 / (FRAMES / 25) / 1000, abs=0.001)
    # MP4 keeps the parameter sets (46 bytes) outside the packets; the tone alone is kilobytes.
    assert bare["bytes"] - 60 < packed["bytes"] <= bare["bytes"]
    assert (encodes / "sound.mp4").stat().st_size > bare["bytes"] + 1000
    assert packed["vmaf"] == bare["vmaf"]


def test_of_a_part_only_the_packets_shown_count(run, pan: Path, encodes: Path) -> None:
    names = ("plain.h264", "sound.mp4")
    _, out, _ = run(pan, *(encodes / name for name in names), "--json", "--frames", "4")
    part = points(out)
    _, out, _ = run(pan, *(encodes / name for name in names), "--json")
    whole = points(out)
    for name in names:
        assert part[name]["frames"] == 4
        # The key frame is most of it.
        assert 0.8 * whole[name]["bytes"] < part[name]["bytes"] < whole[name]["bytes"] - 50


def test_raw_files_are_read_by_their_names(run, pan: Path, encodes: Path, ffmpeg: FFmpeg, tmp_path: Path) -> None:
    samples = tmp_path / "pan_320x192_25fps_420_8bit_YUV.yuv"
    ffmpeg.run(["-i", str(pan), "-f", "rawvideo", str(samples)])
    code, out, err = run(samples, encodes / "plain.h264", "--json")
    assert code == 0, err
    assert points(out)["plain.h264"]["vmaf"] > 90
    code, out, err = run(pan, samples, "--json", "--frames", "5")
    assert code == 0, err
    (point,) = points(out).values()
    assert (point["psnr_y"], point["codec"], point["bytes"]) == (60, "rawvideo", 5 * 320 * 192 * 3 // 2)


def test_an_identical_file_is_at_the_top(run, pan: Path) -> None:
    code, out, _ = run(pan, pan, "--json")
    assert code == 0
    (point,) = points(out).values()
    assert point["vmaf"] >= 97
    assert (point["psnr_y"], point["xpsnr_y"], point["codec"]) == (60, 100, "rawvideo")


@pytest.mark.parametrize("frames", [11, 13])
def test_another_number_of_frames_is_an_error(run, pan: Path, tmp_path: Path, frames: int) -> None:
    other = write_pan(tmp_path / "other.y4m", frames)
    code, out, err = run(pan, other)
    assert (code, out) == (4, "")
    assert f"other.y4m has {frames} frames and the reference has 12" in err
    code, _, err = run(pan, other, "--frames", "11")
    assert code == 0, err
    assert "seems" not in err


def test_fewer_frames_than_asked_for_on_one_side_is_an_error(run, pan: Path, tmp_path: Path) -> None:
    code, _, err = run(pan, write_pan(tmp_path / "other.y4m", 8), "--frames", "10")
    assert code == 4
    assert "has 8 frames and the reference has 10" in err


def test_another_size_is_for_the_caller_to_scale(run, pan: Path, ffmpeg: FFmpeg, tmp_path: Path) -> None:
    small = tmp_path / "small.mp4"
    ffmpeg.run(["-i", str(pan), "-vf", "scale=160:96", "-c:v", "libx264", str(small)])
    code, out, err = run(pan, small)
    assert (code, out) == (2, "")
    assert "small.mp4 is 160x96 and pan.y4m is 320x192" in err
    assert "scale" in err


@pytest.mark.parametrize(("size", "measured"), [("216:176", True), ("214:214", False), ("320:174", False)])
def test_what_is_too_small_for_a_metric_is_refused_before_it_is_measured(
    run, pan: Path, ffmpeg: FFmpeg, tmp_path: Path, size: str, measured: bool
) -> None:
    """The least size, and sizes with which VMAF v1 and MS-SSIM fail."""
    reference, encode = tmp_path / "ref.y4m", tmp_path / "dis.mp4"
    ffmpeg.run(["-i", str(pan), "-frames:v", "3", "-vf", f"scale={size}", str(reference)])
    ffmpeg.run(["-i", str(reference), "-c:v", "libx264", "-crf", "30", str(encode)])
    code, out, err = run(reference, encode, "--out", tmp_path / "out")
    if measured:
        assert code == 0, err
        return
    assert (code, out) == (3, "")
    told = f"pictures of {size.replace(':', 'x')} are too small to be measured, which takes 216x176 or 176x216; scale"
    assert err.startswith(f"scene: ref.y4m: {told}")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("first", "word"), [(0, "late"), (2, "early"), (1, None)])
def test_a_shift_of_one_frame_is_warned_about(
    run, ffmpeg: FFmpeg, tmp_path: Path, first: int, word: str | None
) -> None:
    reference, shifted = write_pan(tmp_path / "ref.y4m", 8, first=1), write_pan(tmp_path / "s.y4m", 8, first=first)
    coarse = tmp_path / "dist.mp4"
    ffmpeg.run(["-i", str(shifted), "-c:v", "libx264", "-crf", "40", "-threads", "1", str(coarse)])
    code, _, err = run(reference, coarse, "--json")
    assert code == 0
    if word is None:
        assert "seems" not in err
    else:
        assert f"warning: dist.mp4 seems to be one frame {word}" in err


def test_time_stamps_do_not_matter(run, pan: Path, encodes: Path, ffmpeg: FFmpeg, tmp_path: Path) -> None:
    uneven = tmp_path / "uneven.mkv"
    stamps = "settb=1/1000,setpts='40*N+300*gte(N,5)+17*mod(N,3)'"
    lossless = ["-c:v", "libx264", "-qp", "0", "-fps_mode", "passthrough"]
    ffmpeg.run(["-i", str(pan), "-vf", stamps, *lossless, str(uneven)])
    code, out, err = run(pan, uneven, "--json")
    assert code == 0, err
    (point,) = points(out).values()
    assert (point["frames"], point["psnr_y"]) == (FRAMES, 60)
    code, out, err = run(uneven, encodes / "plain.h264", "--json")
    assert code == 0, err
    assert points(out)["plain.h264"]["vmaf"] > 90


def test_depths_and_ranges_meet_in_the_references(
    run, pan: Path, encodes: Path, ffmpeg: FFmpeg, tmp_path: Path
) -> None:
    full = tmp_path / "full.mkv"
    lossless = ["-c:v", "libx264", "-qp", "0"]
    ffmpeg.run(["-i", str(pan), "-vf", "scale=out_range=pc,format=yuvj420p", *lossless, str(full)])
    code, out, err = run(pan, encodes / "deep.mkv", full, "--json")
    assert code == 0, err
    seen = points(out)
    assert {point["bit_depth"] for point in seen.values()} == {8}
    assert seen["deep.mkv"]["psnr_y"] > 42
    # Range is no difference: what is left is rounding.
    assert seen["full.mkv"]["psnr_y"] > 50
    code, out, err = run(encodes / "deep.mkv", pan, "--json")
    assert code == 0, err
    (point,) = points(out).values()
    assert point["bit_depth"] == 10
    assert point["psnr_y"] > 42
    code, out, err = run(full, pan, "--json")
    assert code == 0, err
    assert points(out)["pan.y4m"]["psnr_y"] > 50


def test_the_report_takes_files_of_another_depth(run, pan: Path, encodes: Path, tmp_path: Path) -> None:
    code, _, err = run(pan, encodes / "deep.mkv", "--out", tmp_path / "out")
    assert code == 0, err
    assert (tmp_path / "out" / "report.html").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["{pan}"], 2, "at least one file"),
        ([], 2, "REF"),
        (["{pan}", "missing.mp4"], 3, "missing.mp4 does not exist"),
        (["missing.mp4", "{pan}"], 3, "missing.mp4 does not exist"),
        (["{pan}", "list.mp4"], 3, "list.mp4"),
        (["{pan}", "rubbish.mp4"], 3, "rubbish.mp4"),
        (["{pan}", "{pan}", "{pan}"], 2, "given twice"),
        (["{pan}", "{pan}", "--frames", "0"], 2, "--frames"),
        (["{pan}", "{pan}", "--jobs", "0"], 2, "--jobs"),
        (["{pan}", "{pan}", "--ffmpeg", "nothing"], 6, "nothing"),
    ],
)
def test_errors_have_their_exit_code(
    run, pan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rubbish.mp4").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {pan}\n")
    left, out, err = run(*(argument.format(pan=pan) for argument in arguments))
    assert (left, out) == (code, "")
    assert says in err
    assert len(err.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_an_error_after_the_table(
    run, pan: Path, encodes: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, out, err = run(pan, encodes / "plain.h264", "--out", tmp_path / "file")
    assert code == 1
    assert "plain.h264" in out
    assert "cannot be written" in err


def test_files_of_one_name_are_told_apart(run, pan: Path, encodes: Path, tmp_path: Path) -> None:
    twin = tmp_path / "plain.h264"
    twin.write_bytes((encodes / "plain.h264").read_bytes())
    code, out, err = run(pan, encodes / "plain.h264", twin, "--json")
    assert code == 0, err
    assert list(points(out)) == [str(encodes / "plain.h264"), str(twin)]


@pytest.mark.skipif(os.name == "nt", reason="file names are not bytes there")
def test_file_names_are_only_names(run, pan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = "a;touch b;$(id) '\"%03d|<img src=x>.y4m"
    names = ["-x.y4m", hostile, "concat:x.y4m", "line\nbreak.y4m"]
    for index, name in enumerate(names):
        write_pan(tmp_path / name, 3, first=index)
    before = set(tmp_path.iterdir())
    code, out, err = run("--out", "out", "--", "-x.y4m", *names)
    assert code == 0, err
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"out"}
    assert "line\ufffdbreak.y4m" in out
    assert "\\<img src=x\\>" in out
    assert "<img src=x>" not in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_leaves_nothing_behind(
    number: signal.Signals, code: int, pan: Path, encodes: Path, ffmpeg: FFmpeg, tmp_path: Path
) -> None:
    fake = tmp_path / "fake"
    # libvmaf hangs; what comes before it does not.
    hang = 'case "$*" in *libvmaf=*) touch started; exec sleep 600;; esac'
    fake.write_text(f"#!/bin/sh\n{hang}\nexec '{ffmpeg.path}' \"$@\"\n")
    fake.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "scene", "compare", str(pan), str(encodes / "plain.h264")]
    process = subprocess.Popen(
        [*command, "--ffmpeg", str(fake), "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, ""), err
    assert "Traceback" not in err
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_the_library_measures_as_the_command_does(run, pan: Path, encodes: Path) -> None:
    request = scene.CompareRequest(pan, (encodes / "plain.h264",), frames=5)
    result = scene.compare(request)
    assert result.compared.side_by_sides == ()
    code, out, _ = run(pan, encodes / "plain.h264", "--frames", "5", "--json")
    assert code == 0
    assert result.results["points"] == json.loads(out)["points"]
    with pytest.raises(scene.SceneError, match="at least one file"):
        scene.CompareRequest(pan, ())
