"""`scene batch`: many files, each isolated from the failures of the others, and safe to run again."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import refusing
from making import decoded, make_video

from scene.cli import run
from scene.signals import ENDING

FAST = ("--model", "none", "--preset", "ultrafast")
# Slow enough to be caught at work.
SLOW = ("--model", "none", "--preset", "placebo", "--encoder-args", "threads=1")


def scene_batch(*arguments: object) -> int:
    return run(["batch", *map(str, arguments)])


def report(out: Path) -> dict[str, dict]:
    """The results of `batch.json` by the name of the source."""
    document = json.loads((out / "batch.json").read_text())
    return {Path(one["source"]).name: one for one in document["results"]}


def states(out: Path) -> dict[str, str]:
    return {name: one["state"] for name, one in report(out).items()}


def times(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("*.mkv")}


def leftovers(out: Path) -> list[Path]:
    return list(out.rglob("*.part"))


# Of a file that is caught at work.
FRAMES = 20


def long_video(path: Path, frames: int = FRAMES) -> Path:
    return make_video(path, size=(320, 240), frames=frames, codec="mjpeg", pix_fmt="yuvj420p")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen files in folders, two of them broken."""
    folder = tmp_path_factory.mktemp("catalogue")
    for number in range(10):
        place = folder / ("" if number < 3 else "a" if number < 6 else "a/b")
        place.mkdir(exist_ok=True)
        make_video(place / f"{number}.mkv", frames=3 + number, audio="flac" if number % 2 else None)
    (folder / "a/noise.mkv").write_bytes(bytes(range(256)) * 20)
    whole = make_video(folder / "a/short.mkv", frames=30).read_bytes()
    (folder / "a/short.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def encoded(catalogue: Path) -> Path:
    out = catalogue.with_name("encoded")
    assert scene_batch(catalogue, "--out", out, "--workers", 2, *FAST) == 1
    return out


def test_the_others_are_encoded_and_what_failed_is_named(catalogue, encoded):
    assert sorted(times(encoded)) == sorted(str(path.relative_to(catalogue)) for path in catalogue.rglob("?.mkv"))
    for number in range(10):
        (path,) = encoded.rglob(f"{number}.mkv")
        assert len(decoded(path)) == 3 + number
    found = report(encoded)
    assert {name for name, one in found.items() if one["state"] == "failed"} == {"noise.mkv", "short.mkv"}
    assert found["noise.mkv"]["code"] == found["short.mkv"]["code"] == 3
    assert "short.mkv is damaged or cut short" in found["short.mkv"]["reason"]
    page = (encoded / "batch.html").read_text()
    assert "10 of 12 files encoded" in page and page.count("short.mkv is damaged or cut short") == 1
    assert leftovers(encoded) == []


def test_it_is_the_encode_that_scene_encode_makes(catalogue, encoded, tmp_path):
    assert run(["encode", str(catalogue / "a/5.mkv"), str(tmp_path / "5.mkv"), *FAST]) == 0
    assert (tmp_path / "5.mkv").read_bytes() == (encoded / "a/5.mkv").read_bytes()


def test_a_second_run_does_only_what_is_not_done(catalogue, encoded, capfd):
    before = times(encoded)
    # One output is gone, one is not what was written, one source is another; and what was done stays as it is.
    (encoded / "0.mkv").unlink()
    (encoded / "a/3.mkv").write_bytes(b"broken")
    make_video(catalogue / "a/b/7.mkv", frames=4)
    capfd.readouterr()
    assert scene_batch(catalogue, "--out", encoded, "--workers", 2, *FAST) == 1
    after = times(encoded)
    assert {name for name in after if after[name] != before[name]} == {"0.mkv", "a/3.mkv", "a/b/7.mkv"}
    assert sorted(states(encoded).values()) == ["done"] * 3 + ["failed"] * 2 + ["unchanged"] * 7
    assert len(decoded(encoded / "a/b/7.mkv")) == 4 and len(decoded(encoded / "a/3.mkv")) == 6
    printed, said = capfd.readouterr()
    assert "10 of 12 files" in printed and "7 were there already" in printed
    assert said.splitlines()[-1] == (
        f"scene: 2 of 12 files failed: {catalogue / 'a/noise.mkv'}; {catalogue / 'a/short.mkv'} (reasons above)."
    )


def test_settings_by_pattern_redo_the_files_that_they_are_of(catalogue, encoded, tmp_path, capfd):
    before = times(encoded)
    settings = tmp_path / "settings.toml"
    settings.write_text('["a/b/*"]\ncrf = 40\n["*8.mkv"]\ncodec = "x265"\n["*.nothing"]\ncrf = 3\n')
    assert scene_batch(catalogue, "--out", encoded, *FAST, "--settings", settings) == 1
    after = times(encoded)
    assert {name for name in after if after[name] != before[name]} == {f"a/b/{number}.mkv" for number in (6, 7, 8, 9)}
    found = report(encoded)
    assert found["9.mkv"]["settings"]["crf"] == 40 and found["9.mkv"]["settings"]["codec"] == "x264"
    assert found["8.mkv"]["settings"]["codec"] == "x265"
    assert f'{settings}: no file fits ["*.nothing"].' in capfd.readouterr().err


def test_an_output_that_is_not_of_the_batch_is_kept(tmp_path, capfd):
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mkv")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.mkv").write_bytes(b"mine")
    for _ in range(2):
        assert scene_batch(tmp_path / "in", "--out", out, *FAST) == 1
        assert "a.mkv exists; give --overwrite to replace it" in capfd.readouterr().err
        assert (out / "a.mkv").read_bytes() == b"mine"
    assert "give --overwrite" in report(out)["a.mkv"]["reason"]
    assert scene_batch(tmp_path / "in", "--out", out, *FAST, "-y") == 0
    assert len(decoded(out / "a.mkv")) == 8


def test_a_list_with_odd_names_and_json(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    names = ["-x.mkv", "films/a;touch b;$(id).mkv", os.fsdecode(b"films/\xff.mkv"), "gone.mkv"]
    (tmp_path / "films").mkdir()
    for name in names[:3]:
        make_video(Path(tmp_path / "films/plain.mkv"), frames=2).rename(name)
    Path("list.txt").write_bytes(b"# these\n" + b"\n".join(map(os.fsencode, names)))
    assert scene_batch("list.txt", "--out", "out", *FAST, "--log-format", "json") == 1
    printed, said = capfd.readouterr()
    lines = [json.loads(line) for line in said.splitlines()]
    assert printed == "" and lines[-1]["event"] == "error" and lines[-1]["code"] == 1
    *files, result = [line for line in lines if line["event"] == "result"]
    assert sorted(one["source"] for one in files) == sorted(names[:3]) and {one["frames"] for one in files} == {2}
    assert (result["done"], result["failed"], result["files"]) == (3, 1, 4)
    assert [line["done"] for line in lines if line["event"] == "progress"][-1] == 4
    assert all(len(decoded(Path("out") / name)) == 2 for name in names[:3])
    # Again, and by the odd names too.
    assert scene_batch("list.txt", "--out", "out", *FAST) == 1
    assert list(states(Path("out")).values()) == ["unchanged"] * 3 + ["failed"]


def test_a_quality_by_pattern_is_searched_and_what_cannot_be_reached_fails(tmp_path, capfd):
    from test_encode_target import make_clip

    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/reached.mkv")
    make_clip(tmp_path / "in/beyond.mkv")
    settings = tmp_path / "settings.toml"
    settings.write_text('["*"]\ntarget = "vmaf-neg=88"\n["beyond*"]\ntarget = "vmaf-neg=90"\nmax-kbps = 300\n')
    out = tmp_path / "out"
    assert scene_batch(tmp_path / "in", "--out", out, *FAST, "--settings", settings) == 1
    found = report(out)
    assert found["beyond.mkv"]["code"] == 5
    assert re.search(r"beyond.mkv: at 300 kbit/s VMAF NEG reaches .*; ask for less", found["beyond.mkv"]["reason"])
    assert not (out / "beyond.mkv").exists()
    answer = found["reached.mkv"]["encoded"]["found"]
    assert answer["met"] and answer["scores"]["vmaf_neg"] >= 88 and answer["kbps"] > 0
    printed = capfd.readouterr().out
    assert f"CRF {answer['crf']:g}, VMAF NEG {answer['scores']['vmaf_neg']:.2f}" in printed
    # The same as alone.
    assert run(["search", str(tmp_path / "in/reached.mkv"), "--target", "vmaf-neg=88", *FAST, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["unprocessed"]["crf"] == answer["crf"]
    # The journal has it too: what is known of a file that is left alone comes from there.
    assert scene_batch(tmp_path / "in", "--out", out, *FAST, "--settings", settings) == 1
    assert report(out)["reached.mkv"]["state"] == "unchanged"
    assert report(out)["reached.mkv"]["encoded"]["found"] == answer


def test_a_target_on_the_command_line_goes_with_no_crf(tmp_path, capfd):
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mkv")
    assert scene_batch(tmp_path / "in", "--out", tmp_path / "out", "--target", "vmaf=90", "--crf", 20) == 2
    assert "--crf and --target exclude each other" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not refusing.SUPPORTED, reason="system calls are filtered on Linux alone")
@pytest.mark.parametrize(
    ("refused", "code", "said"),
    [
        ("rename=EACCES", 1, "in/a.mkv: out/.scene-batch cannot be written to: Permission denied."),
        # A share without the formalities.
        ("chmod=EPERM,fsync=EINVAL,flock=ENOLCK", 0, "1 of 1 files are in out"),
    ],
)
def test_folders_that_refuse(tmp_path, refused, code, said):
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mkv", frames=2)
    words = [sys.executable, refusing.__file__, refused, "batch", "in", "--out", "out", *FAST]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code and said in done.stderr
    assert leftovers(tmp_path / "out") == []


# Ends of one, and of all


def started(*arguments: object, temporary: Path) -> subprocess.Popen[bytes]:
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "scene", "batch", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(temporary)},
        preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for number in ENDING],
    )


def children(parent: int) -> list[int]:
    """The processes that another has started."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
    return found


def wait_until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Ended, though perhaps not yet collected by whoever has to."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A quick file, then two slow ones."""
    folder = tmp_path / "in"
    folder.mkdir()
    make_video(folder / "0.mkv", frames=2)
    for name in ("1.mkv", "2.mkv"):
        long_video(folder / name)
    return folder


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGKILL, "signal 9, as by the system where memory"), (signal.SIGSEGV, "signal 11")]
)
def test_a_file_whose_process_is_killed_is_the_only_one_that_fails(three, tmp_path, number, how):
    out = tmp_path / "out"
    process = started(three, "--out", out, "--workers", 1, *SLOW, temporary=tmp_path / "temporary")
    wait_until(lambda: list(out.glob(".1.mkv.*.part")))
    (worker,) = children(process.pid)
    os.kill(worker, number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"{three / '1.mkv'}: its process was killed by {how}" in said.decode()
    assert states(out) == {"0.mkv": "done", "1.mkv": "failed", "2.mkv": "done"}
    assert not (out / "1.mkv").exists() and leftovers(out) == []
    assert list((tmp_path / "temporary").iterdir()) == []
    before = times(out)
    assert scene_batch(three, "--out", out, *SLOW) == 0
    assert states(out) == {"0.mkv": "unchanged", "1.mkv": "done", "2.mkv": "unchanged"}
    assert {name: stamp for name, stamp in times(out).items() if name in before} == before


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_end_from_outside_leaves_nothing_half_written_and_a_rerun_goes_on(three, tmp_path, number, code, said):
    out = tmp_path / "out"
    # It is done while its neighbour is at work.
    long_video(three / "0.mkv", FRAMES // 5)
    process = started(three, "--out", out, "--workers", 2, *SLOW, temporary=tmp_path / "temporary")
    wait_until(lambda: (out / "0.mkv").exists() and list(out.glob(".2.mkv.*.part")))
    workers = children(process.pid)
    assert workers
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert error.decode().splitlines()[-1] == f"scene: {said}"
    assert all(gone(pid) for pid in workers)
    # The neighbour may be finished by now.
    before = times(out)
    assert "0.mkv" in before and "2.mkv" not in before and leftovers(out) == []
    assert list((tmp_path / "temporary").iterdir()) == []
    assert scene_batch(three, "--out", out, "--workers", 2, *SLOW) == 0
    assert states(out) == {name: "unchanged" if name in before else "done" for name in ("0.mkv", "1.mkv", "2.mkv")}
    assert {name: stamp for name, stamp in times(out).items() if name in before} == before
    assert len(decoded(out / "1.mkv")) == len(decoded(out / "2.mkv")) == FRAMES


def test_workers_end_with_their_parent(three, tmp_path):
    """Nothing can be done by a parent that is killed with SIGKILL."""
    out = tmp_path / "out"
    # It is done while its neighbour is at work.
    long_video(three / "0.mkv", FRAMES // 5)
    process = started(three, "--out", out, "--workers", 2, *SLOW, temporary=tmp_path / "temporary")
    wait_until(lambda: (out / "0.mkv").exists() and list(out.glob(".2.mkv.*.part")))
    workers = children(process.pid)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: all(gone(pid) for pid in workers))
    # The neighbour may be finished by now.
    before = times(out)
    assert "0.mkv" in before and "2.mkv" not in before and list(out.glob("*.part")) == []
    # As if one of them had been killed at the very same moment, or the parent itself within its journal.
    (out / ".2.mkv.0123456789ab.part").write_bytes(b"half")
    (out / ".scene-batch/.scene-abcdefgh.part").write_bytes(b"half")
    assert scene_batch(three, "--out", out, "--workers", 2, *FAST) == 0
    assert sorted(times(out)) == ["0.mkv", "1.mkv", "2.mkv"] and leftovers(out) == []


def test_on_a_terminal_there_is_a_bar_for_the_whole_and_one_a_worker(three, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "scene", "batch", three, "--out", tmp_path / "out", "--workers", "2", *SLOW],
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(ours, 1 << 16):
            shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "3/3 files" in text
    for name in ("1.mkv", "2.mkv"):
        assert re.search(rf"encode {name} .*\d+/{FRAMES} frames", text)
        assert f"{three / name} -> {tmp_path / 'out' / name}: {FRAMES} frames" in text


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_files_with_five_broken_ones(tmp_path):
    """What `scene batch` is for, small."""
    folder, out = tmp_path / "in", tmp_path / "out"
    model = make_video(tmp_path / "model.mkv", size=(96, 64), frames=10, audio="flac").read_bytes()
    for number in range(200):
        place = folder / f"season {number // 20}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:03d}.mkv").write_bytes(model)
    broken = {"000.mkv": b"", "050.mkv": model[:-900], "077.mkv": model[: len(model) // 3], "133.mkv": model[5000:]}
    broken["199.mkv"] = bytes(5000)
    for name, content in broken.items():
        next(folder.rglob(name)).write_bytes(content)
    process = started(folder, "--out", out, "--workers", 2, *FAST, temporary=tmp_path / "temporary")
    memory: list[tuple[int, int]] = []

    def watch() -> None:
        while process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                done = sum(1 for _ in out.rglob("*.mkv"))
                memory.append((done, int(re.findall(r"VmRSS:\s+(\d+)", status)[0])))
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, said = process.communicate()
    watcher.join()
    assert process.returncode == 1
    assert "5 of 200 files failed: " in said.decode().splitlines()[-1]
    assert len(times(out)) == 195 and leftovers(out) == []
    failed = {name: one for name, one in report(out).items() if one["state"] == "failed"}
    assert failed.keys() == broken.keys() and all(one["code"] == 3 and one["reason"] for one in failed.values())
    early = max(kilobytes for done, kilobytes in memory if 20 <= done < 60)
    late = max(kilobytes for done, kilobytes in memory if done >= 150)
    print(f"memory of the parent: {early} kB after 20 to 60 files, {late} kB after 150")
    assert late < early + 8192
    before = times(out)
    assert scene_batch(folder, "--out", out, "--workers", 2, *FAST) == 1
    assert times(out) == before
    assert sorted(states(out).values()) == ["failed"] * 5 + ["unchanged"] * 195
