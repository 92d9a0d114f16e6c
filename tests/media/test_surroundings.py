"""Places that refuse formalities, signals of every kind, and standard streams that are closed or full."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import refusing
from making import decoded, make_video

from scene.errors import SceneError, UsageError
from scene.files import PendingFile, write_atomically
from scene.signals import ENDING

SCENE = [sys.executable, "-m", "scene"]
REFUSING = [sys.executable, str(Path(refusing.__file__))]
needs_filter = pytest.mark.skipif(not refusing.SUPPORTED, reason="system calls are filtered on Linux alone")


def finished(words, **options):
    """Runs a command to its end; (exit code, stderr)."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=120, check=False, **options
    )
    return done.returncode, done.stderr


@pytest.fixture
def source(tmp_path):
    return make_video(tmp_path / "in.mkv", frames=3)


# File systems


@needs_filter
@pytest.mark.parametrize("refused", ["chmod=EPERM", "chmod=ENOTSUP", "chmod=EROFS,fsync=EINVAL,flock=ENOLCK"])
@pytest.mark.parametrize("command,name", [("encode", "out.mp4"), ("filter", "out.y4m")])
def test_a_share_that_refuses_permissions_keeps_the_finished_file(source, tmp_path, refused, command, name):
    code, said = finished([*REFUSING, refused, command, source, tmp_path / name, "--model", "none"])
    assert code == 0, said
    assert f"warning: {tmp_path}: permissions cannot be set there (" in said
    assert len(decoded(tmp_path / name)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", name]


@needs_filter
def test_a_share_whose_permissions_are_right_is_not_complained_of(source, tmp_path):
    """As exFAT is, where all files have the mode that it was mounted with."""
    code, said = finished(
        [*REFUSING, "chmod=EPERM", "encode", source, tmp_path / "out.mkv", "--model", "none"], umask=0o077
    )
    assert code == 0, said
    assert "warning" not in said


@needs_filter
def test_a_share_without_syncing(source, tmp_path):
    code, said = finished([*REFUSING, "fsync=EINVAL", "encode", source, tmp_path / "out.mkv", "--model", "none"])
    assert code == 0, said
    assert len(decoded(tmp_path / "out.mkv")) == 3


@needs_filter
def test_a_disk_that_fails_while_it_is_synced_is_no_formality(source, tmp_path):
    code, said = finished([*REFUSING, "fsync=EIO", "encode", source, tmp_path / "out.mkv", "--model", "none"])
    assert code == 1
    assert said.splitlines()[-1] == f"scene: {tmp_path / 'out.mkv'} cannot be written: Input/output error."
    assert list(tmp_path.iterdir()) == [source]


@needs_filter
def test_a_name_that_is_refused_leaves_the_finished_file(source, tmp_path):
    """By itself it cannot be renamed, so it stays where it was written."""
    code, said = finished([*REFUSING, "rename=EACCES", "encode", source, tmp_path / "out.mkv", "--model", "none"])
    assert code == 1
    (kept,) = tmp_path.glob(".out.mkv.*.part")
    assert said.splitlines()[-1].endswith(f"(Permission denied), so the finished file is kept as {kept}.")
    assert len(decoded(kept)) == 3


@needs_filter
def test_scores_and_reports_on_such_a_share(tmp_path):
    source = make_video(tmp_path / "in.mkv", size=(224, 224), frames=3)
    where = {**os.environ, "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    refused = "chmod=EPERM,fsync=EINVAL,flock=ENOLCK"
    command = [*REFUSING, refused, "evaluate", source, "--models", "none", "--crf", "20,30,40,50", "--frames", "3"]
    code, said = finished([*command, "--out", tmp_path / "results", "--preset", "x264=ultrafast"], env=where)
    assert code == 0, said
    assert (tmp_path / "results" / "report.html").stat().st_size > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "in.mkv", "results"]


def test_a_name_that_was_taken_meanwhile_costs_nothing(tmp_path):
    with PendingFile(tmp_path / "out.mkv") as pending:
        pending.path.write_bytes(b"finished")
        (tmp_path / "out.mkv").write_bytes(b"another's")
        with pytest.raises(UsageError, match=r"exists by now, so the finished file is kept as .*/out\.\w+\.mkv"):
            pending.publish(overwrite=False)
    assert (tmp_path / "out.mkv").read_bytes() == b"another's"
    (kept,) = tmp_path.glob("out.*.mkv")
    assert kept.read_bytes() == b"finished"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_in_the_place_of_the_name_costs_nothing(tmp_path):
    with PendingFile(tmp_path / "out.mkv") as pending:
        pending.path.write_bytes(b"finished")
        (tmp_path / "out.mkv").mkdir()
        with pytest.raises(SceneError, match="so the finished file is kept as"):
            pending.publish(overwrite=True)
    (kept,) = tmp_path.glob("out.*.mkv")
    assert kept.read_bytes() == b"finished"


def test_a_folder_that_may_be_written_to_but_not_read(tmp_path):
    """Where root is asked, which may read all, this shows nothing."""
    folder = tmp_path / "box"
    folder.mkdir()
    folder.chmod(0o300)
    try:
        with PendingFile(folder / "out.mkv") as pending:
            pending.path.write_bytes(b"finished")
            pending.publish(overwrite=False)
        write_atomically(folder / "results.json", "{}")
    finally:
        folder.chmod(0o700)
    assert (folder / "out.mkv").read_bytes() == b"finished"


# Signals

LISTED = [signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU, signal.SIGUSR1, signal.SIGALRM, signal.SIGRTMIN]


def started(words):
    """A command that begins with the system's own way with signals, with a pipe at each end."""
    return subprocess.Popen(
        [str(word) for word in words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for number in ENDING],
    )


def wait_for(folder, pattern):
    deadline = time.monotonic() + 60
    while not list(folder.glob(pattern)) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)


def words_of(error):
    return error.decode().splitlines()[-1]


@pytest.mark.parametrize("number", LISTED)
def test_no_signal_leaves_anything_of_an_encode(tmp_path, number):
    source = make_video(tmp_path / "in.mkv", size=(320, 240), frames=250, codec="mjpeg", pix_fmt="yuvj420p")
    process = started([*SCENE, "encode", source, tmp_path / "out.mp4", "--preset", "placebo", "--model", "none"])
    wait_for(tmp_path, ".out.mp4.*.part")
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number, error
    assert words_of(error) == f"scene: ended by {signal.Signals(number).name}"
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("number", LISTED[:3])
def test_nor_of_a_filter_that_waits_for_its_input(tmp_path, number):
    process = started([*SCENE, "filter", "-", tmp_path / "out.y4m", "--model", "none"])
    process.stdin.write(b"YUV4MPEG2 W64 H48 F25:1 Ip C420jpeg\nFRAME\n" + bytes(64 * 48 * 3 // 2))
    process.stdin.flush()
    wait_for(tmp_path, ".out.y4m.*.part")
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert words_of(process.stderr.read()) == f"scene: ended by {signal.Signals(number).name}"
    assert list(tmp_path.iterdir()) == []
    process.communicate()


def test_nor_of_an_evaluation(tmp_path):
    source = make_video(tmp_path / "in.mkv", size=(320, 240), frames=50, codec="mjpeg", pix_fmt="yuvj420p")
    where = tmp_path / "temporary"
    where.mkdir()
    words = [*SCENE, "evaluate", source, "--models", "none", "--preset", "x264=placebo", "--out", tmp_path / "out"]
    words = ["env", f"TMPDIR={where}", f"XDG_CACHE_HOME={tmp_path / 'cache'}", *words]
    process = started(words)
    wait_for(where, "scene-evaluate-*/work/*")
    process.send_signal(signal.SIGHUP)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP, error
    assert list(where.iterdir()) == []


def test_a_lost_terminal_says_so_more_than_once(tmp_path):
    """The shell and the system both do, while what was begun is being removed."""
    source = make_video(tmp_path / "in.mkv", size=(320, 240), frames=250, codec="mjpeg", pix_fmt="yuvj420p")
    process = started([*SCENE, "encode", source, tmp_path / "out.mp4", "--preset", "placebo", "--model", "none"])
    wait_for(tmp_path, ".out.mp4.*.part")
    ended = threading.Event()

    def insist():
        for number in itertools.cycle((signal.SIGHUP, signal.SIGTERM, signal.SIGCONT)):
            if ended.wait(0.01):
                return
            process.send_signal(number)

    thread = threading.Thread(target=insist)
    thread.start()
    try:
        _, error = process.communicate(timeout=60)
    finally:
        ended.set()
        thread.join()
    # The last may find an interpreter that is leaving and has no handlers any more.
    assert process.returncode in {128 + signal.SIGHUP, 128 + signal.SIGTERM, -signal.SIGHUP, -signal.SIGTERM}, error
    assert error.decode().splitlines()[-1] in {"scene: ended by SIGHUP", "scene: terminated"}
    assert list(tmp_path.iterdir()) == [source]


def test_nohup_goes_on(source, tmp_path):
    """What is ignored stays ignored."""
    words = [*SCENE, "encode", source, tmp_path / "out.mkv", "--model", "none"]
    code, said = finished(["bash", "-c", 'trap "" HUP; "$@" & kill -HUP $!; wait $!', "bash", *words])
    assert code == 0, said
    assert len(decoded(tmp_path / "out.mkv")) == 3


# Standard streams


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&- >&- 2>&-", "2> >(exit)"])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_work_does_not_need_anybody_to_listen(source, tmp_path, streams, log_format):
    words = [*SCENE, "encode", source, tmp_path / "out.mkv", "--model", "none", "--log-format", log_format]
    code, said = finished(["bash", "-c", f'"$@" {streams}', "bash", *words])
    assert (code, said) == (0, "")
    assert len(decoded(tmp_path / "out.mkv")) == 3


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full"])
def test_nor_does_a_refusal(tmp_path, streams):
    words = [*SCENE, "encode", tmp_path / "gone.mkv", tmp_path / "out.mkv"]
    done = subprocess.run(["bash", "-c", f'"$@" {streams}', "bash", *words], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")


def test_the_numbers_of_closed_streams_go_to_no_file(source, tmp_path):
    """SVT-AV1 writes its banner to number 2, whatever that is."""
    words = ["env", "SVT_LOG=3", *SCENE, "encode", source, tmp_path / "out.mkv", "--model", "none", "--codec", "svtav1"]
    code, _ = finished(["bash", "-c", '"$@" <&- >&- 2>&-', "bash", *words])
    assert code == 0
    assert b"Svt[" not in (tmp_path / "out.mkv").read_bytes()


@pytest.mark.parametrize("command", [["models"], ["encode", "--help"], ["doctor", "--json"]])
def test_data_that_cannot_be_written_is_a_failure(command):
    code, said = finished(["bash", "-c", '"$@" > /dev/full', "bash", *SCENE, *command])
    assert (code, said) == (1, "scene: standard output cannot be written: No space left on device.\n")


def test_a_terminal_that_is_gone(source, tmp_path):
    """A job that its shell has let go of writes to a terminal that no longer is."""
    leader, follower = os.openpty()
    process = subprocess.Popen(
        [*map(str, [*SCENE, "encode", source, tmp_path / "out.mkv", "--model", "none"])],
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    os.close(leader)
    assert process.wait(timeout=60) == 0
    assert len(decoded(tmp_path / "out.mkv")) == 3
