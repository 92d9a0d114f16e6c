"""`scene filter` between processes: who waits for whom, who leaves first, and what is refused."""

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from making import make_network, make_video

from scene.video.ffmpeg import find_ffmpeg

COMMAND = [sys.executable, "-m", "scene", "filter"]
PLAIN = [*COMMAND, "-", "-", "--model", "none"]
HEADER = b"YUV4MPEG2 W640 H360 F25:1 Ip C420jpeg\n"
NUT = b"nut/multimedia container\0" + bytes(200)
FRAME = b"FRAME\n" + bytes(640 * 360 * 3 // 2)


@contextlib.contextmanager
def started(command=PLAIN, **streams):
    """A running filter, which does not outlive the block."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    process = subprocess.Popen(command, **streams)
    try:
        yield process
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        process.wait()


def feed(process, frames):
    """Writes frames from a thread of its own until there is nobody to read them."""

    def write():
        try:
            process.stdin.write(HEADER)
            for _ in range(frames):
                process.stdin.write(FRAME)
            process.stdin.close()
        except (OSError, ValueError):  # the filter has ended
            pass

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def peak_mb(process):
    """The most memory that a process has held so far."""
    with Path(f"/proc/{process.pid}/status").open(encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def test_a_frame_goes_out_as_soon_as_it_came():
    """Before the next one is written, and before the end."""
    with started() as process:
        process.stdin.write(HEADER)
        process.stdin.flush()
        assert process.stdout.read(len(HEADER)) == HEADER
        for _ in range(3):
            process.stdin.write(FRAME)
            process.stdin.flush()
            assert process.stdout.read(len(FRAME)) == FRAME
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_small_nut_frames_do_not_wait_for_each_other():
    """But for the first ones, which FFmpeg looks at all together."""
    arguments = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=8", "-pix_fmt", "yuv420p"]
    data = find_ffmpeg().run([*arguments, "-c:v", "rawvideo", "-f", "nut", "-"]).stdout
    frame = 160 * 120 * 3 // 2
    with started() as process:
        given = 60 * frame
        process.stdin.write(data[:given])
        process.stdin.flush()
        got = 0
        os.set_blocking(process.stdout.fileno(), False)
        until = time.monotonic() + 20
        while got < given - 4 * frame and time.monotonic() < until:
            got += len(process.stdout.read() or b"")
            time.sleep(0.05)
        assert got >= given - 4 * frame


def test_a_slow_reader_slows_the_writer_and_costs_no_memory():
    with started() as process:
        thread = feed(process, 2000)  # 690 MB
        for _ in range(20):
            process.stdout.read(len(FRAME))
            time.sleep(0.05)
        assert peak_mb(process) < 150
        assert thread.is_alive()
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        thread.join()


def test_a_reader_that_leaves_ends_it_quietly():
    with started() as process:
        thread = feed(process, 500)
        process.stdout.read(10 * len(FRAME))
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == b""
        thread.join()


def test_so_does_head():
    """In a shell's pipeline, with nut too."""
    ffmpeg = find_ffmpeg().path
    made = (
        f"'{ffmpeg}' -v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=20 -c:v rawvideo -f nut - 2>/dev/null"
    )
    filters = f"'{sys.executable}' -m scene filter - - --model none"
    line = f"{made} | {filters} | head -c 300000 | wc -c; echo ${{PIPESTATUS[@]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[0] == "300000"
    assert done.stdout.split()[2] == "0"  # after the first line and ffmpeg's code: the filter's
    assert done.stderr == ""


@pytest.mark.parametrize(
    "number,code,said", [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated")]
)
@pytest.mark.parametrize("waits_for", ["input", "first byte", "nut's first frames", "output"])
def test_signals_end_it_while_it_waits(waits_for, number, code, said):
    with started() as process:
        thread = None
        if waits_for == "output":
            thread = feed(process, 200)
            process.stdout.read(len(FRAME))
        elif waits_for == "nut's first frames":
            process.stdin.write(NUT[:100])
            process.stdin.flush()
        elif waits_for == "input":
            process.stdin.write(HEADER + FRAME)
            process.stdin.flush()
            process.stdout.read(len(FRAME))
        time.sleep(1)
        process.send_signal(number)
        # Nothing else would end it.
        assert process.wait(timeout=30) == code
        assert said in process.stderr.read()
        if thread is not None:
            thread.join()


@pytest.mark.parametrize("end", ["in", "out"])
def test_a_terminal_is_a_mistake(end):
    leader, follower = pty.openpty()
    try:
        with started(**{"stdin" if end == "in" else "stdout": follower}) as process:
            _, messages = process.communicate(HEADER + FRAME if end == "out" else None, timeout=60)
            assert process.returncode == 2
            assert f"standard {end}put is a terminal" in messages.decode()
    finally:
        os.close(leader)
        os.close(follower)


def test_standard_streams_that_are_closed():
    for redirection, name in (("<&-", "standard input"), (">&-", "standard output")):
        line = f"'{sys.executable}' -m scene filter - - --model none {redirection}"
        data = HEADER + FRAME if redirection == ">&-" else b""
        done = subprocess.run(["bash", "-c", line], input=data, capture_output=True, timeout=60, check=False)
        assert done.returncode == 2, done.stderr
        assert f"{name} is closed" in done.stderr.decode()


def test_messages_in_a_file_have_no_control_codes(tmp_path):
    with (tmp_path / "log").open("wb") as log, started(stderr=log) as process:
        out, _ = process.communicate(HEADER + FRAME * 3, timeout=60)
    assert out == HEADER + FRAME * 3
    text = (tmp_path / "log").read_text()
    assert "3 frames" in text and "\x1b" not in text and "\r" not in text


def test_named_pipes(tmp_path):
    """Both ends; and a shell's <(...), which is one without a name of its own."""
    source, sink = tmp_path / "source", tmp_path / "sink"
    os.mkfifo(source)
    os.mkfifo(sink)
    with started([*COMMAND, str(source), str(sink), "--model", "none"], stdin=subprocess.DEVNULL) as process:
        writer = threading.Thread(target=source.write_bytes, args=(HEADER + FRAME * 4,))
        writer.start()
        assert sink.read_bytes() == HEADER + FRAME * 4
        assert process.wait(timeout=30) == 0
        writer.join()
    assert sink.is_fifo()
    made = tmp_path / "made.y4m"
    made.write_bytes(HEADER + FRAME * 2)
    line = f"'{sys.executable}' -m scene filter <(cat '{made}') /dev/stdout --model none"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=True)
    assert done.stdout == HEADER + FRAME * 2


def test_the_descriptor_blocks_again_afterwards():
    """Who shares standard output with the filter must find it as it was."""
    ours, theirs = os.pipe()
    with started(stdout=theirs) as process:
        process.communicate(HEADER + FRAME, timeout=60)
        assert process.returncode == 0
    assert os.get_blocking(theirs)
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("encoder", ["x264", "x265"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_between_ffmpeg_and_the_encoders_own_program(tmp_path, encoder, pix_fmt):
    """ffmpeg | scene filter | x264, and the same without the filter: the same stream where nothing is changed."""
    if shutil.which(encoder) is None:
        pytest.skip(f"the program {encoder} is not installed")
    depth = "10" if "10" in pix_fmt else "8"
    takes = {
        "x264": f"x264 --quiet --demuxer y4m --output-depth {depth} --threads 1 --qp 0 -o OUT -",
        "x265": f"x265 --log-level none --y4m --output-depth {depth} --pools 1 -F 1 --lossless -o OUT -",
    }[encoder]
    source = make_video(tmp_path / "in.mkv", size=(128, 96), pix_fmt=pix_fmt, frames=5)
    weights = make_network(tmp_path / "net.safetensors", identity=True)
    gives = f"'{find_ffmpeg().path}' -v error -i '{source}' -strict -1 -f yuv4mpegpipe -"
    filters = f"'{sys.executable}' -m scene filter - - --model '{weights}'"
    suffix = {"x264": "264", "x265": "hevc"}[encoder]
    for name, line in (("plain", f"{gives} | {takes}"), ("filtered", f"{gives} | {filters} | {takes}")):
        out = f"'{tmp_path / name}.{suffix}'"
        subprocess.run(["bash", "-o", "pipefail", "-c", line.replace("OUT", out)], check=True, timeout=120)
    assert (tmp_path / f"plain.{suffix}").read_bytes() == (tmp_path / f"filtered.{suffix}").read_bytes()
    sums = [
        find_ffmpeg().run(["-i", str(path), "-f", "framehash", "-pix_fmt", pix_fmt, "-"]).stdout.splitlines()
        for path in (source, tmp_path / f"filtered.{suffix}")
    ]
    pictures = [[line.split(b",")[-1] for line in lines if not line.startswith(b"#")] for lines in sums]
    assert len(pictures[0]) == 5 and pictures[0] == pictures[1]
