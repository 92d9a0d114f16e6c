"""Every way in which `scene encode` ends without an output: exit code, one sentence, nothing left behind."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from making import decoded, encode, make_network, make_video

from scene.cli import run


@pytest.fixture
def source(tmp_path):
    return make_video(tmp_path / "in.mkv", frames=3)


def refused(capfd, folder, code, text, *arguments, **options):
    """Runs the command and checks its exit code, its one sentence, and that no file appeared."""
    before = sorted(folder.iterdir())
    assert encode(*arguments, **options) == code
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if ": encode: " not in line and "warning: " not in line]
    assert len(lines) == 1, err
    assert lines[0].startswith("scene: ") and text in lines[0]
    assert sorted(folder.iterdir()) == before


def test_sources_that_cannot_be_read(tmp_path, capfd):
    empty, noise, folder, pipe = (tmp_path / name for name in ("empty.mp4", "noise.mp4", "folder.mp4", "pipe.mp4"))
    empty.touch()
    noise.write_bytes(os.urandom(50_000))
    folder.mkdir()
    os.mkfifo(pipe)
    for path, text in [
        (tmp_path / "missing.mp4", "does not exist"),
        (empty, "is empty"),
        (noise, "cannot be opened as video"),
        (folder, "is a directory"),
        (pipe, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
    ]:
        refused(capfd, tmp_path, 3, text, path, tmp_path / "out.mp4", "--model", "none")


def test_audio_only(tmp_path, capfd):
    path = tmp_path / "sound.mka"
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("flac", rate=48000)
        frame = av.AudioFrame("s16", "stereo", 4096)
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    refused(capfd, tmp_path, 3, "has no video stream", path, tmp_path / "out.mkv", "--model", "none")


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
def test_playlists_are_not_followed(tmp_path, capfd, name):
    make_video(tmp_path / "part.ts", codec="libx264", frames=3)
    (tmp_path / name).write_text("#EXTM3U\n#EXTINF:1,\npart.ts\n#EXT-X-ENDLIST\n")
    refused(capfd, tmp_path, 3, "cannot be opened", tmp_path / name, tmp_path / "out.mkv", "--model", "none")


def test_destinations_that_cannot_be_meant(source, tmp_path, capfd):
    linked, hard = tmp_path / "link.mkv", tmp_path / "hard.mkv"
    linked.symlink_to(source)
    hard.hardlink_to(source)
    (tmp_path / "there.mkv").write_text("precious")
    os.mkfifo(tmp_path / "pipe.mkv")
    for destination, text in [
        (source, "is the source itself"),
        (linked, "is the source itself"),
        (hard, "is the source itself"),
        (tmp_path / "pipe.mkv", "is not a file"),
        (tmp_path / "no" / "out.mkv", "does not exist"),
        (tmp_path / "out.avi", "suffixes"),
        (tmp_path / "out", "suffixes"),
    ]:
        refused(capfd, tmp_path, 2, text, source, destination, "-y", "--model", "none")
    refused(capfd, tmp_path, 2, "give --overwrite", source, tmp_path / "there.mkv", "--model", "none")
    assert (tmp_path / "there.mkv").read_text() == "precious"


@pytest.mark.parametrize(
    "arguments,text",
    [
        (["--crf", "x"], "crf"),
        (["--crf", "52"], "0 to 51"),
        (["--codec", "svtav1", "--crf", "64"], "0 to 63"),
        (["--crf", "nan"], "0 to 51"),
        (["--codec", "vp9"], "codec"),
        (["--preset", "6"], "ultrafast"),
        (["--codec", "svtav1", "--preset", "medium"], "no preset"),
        (["--encoder-args", "a b"], "key=value"),
        (["--encoder-args", "nonsense=1"], "nonsense"),
        (["--codec", "x265", "--encoder-args", "nonsense=1"], "nonsense"),
        (["--codec", "svtav1", "--encoder-args", "nonsense=1"], "nonsense"),
        (["--device", "tpu"], "device"),
        (["--surprise"], "surprise"),
    ],
)
def test_options_that_cannot_be_meant(source, tmp_path, capfd, arguments, text):
    refused(capfd, tmp_path, 2, text, source, tmp_path / "out.mkv", "--model", "none", *arguments)


def test_models_that_cannot_be_used(source, tmp_path, capfd):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nonsense")
    six = make_network(tmp_path / "six.safetensors", planes="yuv420")
    wide = make_video(tmp_path / "422.mkv", pix_fmt="yuv422p", frames=2)
    out = tmp_path / "out.mkv"
    refused(capfd, tmp_path, 2, "nosuchmodel", source, out, "--model", "nosuchmodel")
    refused(capfd, tmp_path, 3, "bad.safetensors", source, out, "--model", bad)
    refused(capfd, tmp_path, 3, "gone.safetensors", source, out, "--model", tmp_path / "gone.safetensors")
    refused(capfd, tmp_path, 2, "4:2:0", wide, out, "--model", six)
    good = make_network(tmp_path / "good.safetensors")
    refused(capfd, tmp_path, 2, "strength", source, out, "--model", good, "--strength", "-1")


@pytest.mark.parametrize(
    "pix_fmt,codec,text",
    [
        ("bgra", "ffv1", "alpha"),
        ("yuva420p", "ffv1", "alpha"),
        ("gbrap10le", "ffv1", "alpha"),
        ("yuv410p", "ffv1", "not supported"),
    ],
)
def test_pixel_formats_that_are_not_taken(tmp_path, capfd, pix_fmt, codec, text):
    path = make_video(tmp_path / "in.mkv", pix_fmt=pix_fmt, codec=codec, frames=2)
    refused(capfd, tmp_path, 3, text, path, tmp_path / "out.mkv", "--model", "none")


def test_formats_that_one_encoder_does_not_take(tmp_path, capfd):
    path = make_video(tmp_path / "in.mkv", pix_fmt="yuv444p", frames=2)
    out = tmp_path / "out.mkv"
    refused(capfd, tmp_path, 2, "8-bit 4:4:4", path, out, "--model", "none", "--codec", "svtav1")
    path = make_video(tmp_path / "in12.mkv", pix_fmt="yuv420p12le", frames=2)
    refused(capfd, tmp_path, 2, "12-bit 4:2:0", path, out, "--model", "none")
    assert encode(path, out, "--model", "none", "--codec", "x265") == 0
    with av.open(str(out)) as file:
        assert file.streams.video[0].pix_fmt == "yuv420p12le"


def test_interlaced_is_refused(tmp_path, capfd):
    options = {"x264-params": "interlaced=1:tff=1"}
    path = make_video(tmp_path / "in.mkv", codec="libx264", options=options, frames=4)
    refused(capfd, tmp_path, 3, "interlaced", path, tmp_path / "out.mkv", "--model", "none")


def test_a_change_of_size_is_refused(tmp_path, capfd):
    small = make_video(tmp_path / "a.h264", codec="libx264", frames=5)
    large = make_video(tmp_path / "b.h264", codec="libx264", frames=5, size=(96, 64))
    path = tmp_path / "in.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    refused(capfd, tmp_path, 3, "64x48 to 96x64", path, tmp_path / "out.mkv", "--model", "none")


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4"])
@pytest.mark.parametrize("harm", ["cut", "flip", "hole"])
def test_damaged_sources(tmp_path, capfd, name, harm):
    whole = make_video(tmp_path / name, codec="libx264", frames=60, size=(160, 120), options={"g": "12"})
    if name == "in.mp4":  # with the index in front, so that a cut file can be opened
        with av.open(str(whole)) as old:
            fast = tmp_path / "fast.mp4"
            with av.open(str(fast), "w", container_options={"movflags": "faststart"}) as new:
                stream = new.add_stream_from_template(old.streams.video[0])
                for packet in old.demux(video=0):
                    if packet.size:
                        packet.stream = stream
                        new.mux(packet)
        shutil.move(fast, whole)
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    if harm == "cut":
        del data[len(data) * 3 // 4 :]
    elif harm == "flip":
        for offset in range(middle, middle + 3000, 50):
            data[offset] ^= 0xFF
    else:
        data[middle : middle + 3000] = bytes(3000)
    whole.write_bytes(data)
    refused(capfd, tmp_path, 3, "damaged or cut short", whole, tmp_path / "out.mkv", "--model", "none")
    assert encode(whole, tmp_path / "out.mkv", "--model", "none", "--on-error", "skip") == 0
    said = capfd.readouterr().err
    assert "warning: " in said
    assert int(re.search(r", model none, (\d+) damaged places$", said, re.MULTILINE)[1]) >= said.count("warning: ")
    assert 20 <= len(decoded(tmp_path / "out.mkv")) <= 60


def test_much_damage_is_counted_and_not_listed(tmp_path, capfd):
    """Every third frame of an intra-only stream is unreadable."""
    source = make_video(tmp_path / "in.mkv", codec="libx264", frames=60, options={"g": "1", "bf": "0"})
    with av.open(str(source)) as old, av.open(str(tmp_path / "bad.mkv"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for index, packet in enumerate(p for p in old.demux(video=0) if p.size):
            data = bytes(packet)
            bad = av.Packet(data[:5] + bytes(len(data) - 5) if index % 3 == 1 else data)
            bad.pts, bad.dts, bad.time_base, bad.is_keyframe, bad.stream = (
                packet.pts,
                packet.dts,
                packet.time_base,
                True,
                stream,
            )
            new.mux(bad)
    refused(capfd, tmp_path, 3, "damaged or cut short", tmp_path / "bad.mkv", tmp_path / "out.mkv", "--model", "none")
    assert encode(tmp_path / "bad.mkv", tmp_path / "out.mkv", "--model", "none", "--on-error", "skip") == 0
    said = capfd.readouterr().err
    found = re.search(r"(\d+) places are damaged, of which the first 10 are named", said)
    assert found and int(found[1]) >= 20
    assert said.count("warning: ") == 11
    assert f"model none, {found[1]} damaged places" in said


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_a_full_disk_leaves_nothing(tmp_path, name):
    source = make_video(tmp_path / "in.mkv", frames=20, size=(320, 240))
    arguments = [str(source), str(tmp_path / name), "--model", "none", "--crf", "1"]
    limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "bash", sys.executable, "-m", "scene", "encode", *arguments]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "scene: writing the output failed: file too large."
    assert list(tmp_path.iterdir()) == [source]


def test_flipped_bits_give_documented_codes(tmp_path, capfd):
    sources = [
        make_video(tmp_path / "a.mkv", codec="libx264", audio="aac", subtitles=True, frames=10),
        make_video(tmp_path / "a.mp4", codec="libx264", audio="aac", chapters=True, frames=10),
    ]
    rng = random.Random(4)
    codes = set()
    for number in range(60):
        data = bytearray(sources[number % 2].read_bytes())
        for _ in range(rng.choice([1, 5, 40])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        damaged = tmp_path / f"damaged{sources[number % 2].suffix}"
        damaged.write_bytes(data)
        target = tmp_path / "out.mkv"
        mode = rng.choice(["fail", "skip"])
        code = encode(damaged, target, "--preset", "ultrafast", "--model", "none", "--on-error", mode)
        assert target.exists() == (code == 0)
        target.unlink(missing_ok=True)
        codes.add(code)
        assert not list(tmp_path.glob(".*.part"))
    assert codes <= {0, 2, 3, 4}, capfd.readouterr().err


def test_a_failed_verification_leaves_nothing(source, tmp_path, capfd, monkeypatch):
    import scene.video.container.writer as mux

    write = mux.Writer.write

    def forgetful(self, unit):
        write(self, unit)
        if unit.frame is not None:
            self.stamps.append(self.stamps[-1] + 40)

    monkeypatch.setattr(mux.Writer, "write", forgetful)
    refused(capfd, tmp_path, 4, "3 of 6 frames", source, tmp_path / "out.mp4", "--model", "none")


def test_a_failing_network_leaves_nothing(source, tmp_path, capfd, monkeypatch):
    from scene.enhance import Enhancer
    from scene.errors import SceneError

    def fail(self, pictures):
        raise SceneError("the network fell over.")

    monkeypatch.setattr(Enhancer, "__call__", fail)
    weights = make_network(tmp_path / "net.safetensors")
    refused(capfd, tmp_path, 1, "fell over", source, tmp_path / "out.mp4", "--model", weights)


@pytest.mark.parametrize("codec,preset", [("x264", "placebo"), ("x265", "veryslow"), ("svtav1", "4")])
@pytest.mark.parametrize("number,code,said", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
def test_signals_leave_nothing(tmp_path, codec, preset, number, code, said):
    source = make_video(tmp_path / "in.mkv", size=(320, 240), frames=250, codec="mjpeg", pix_fmt="yuvj420p")
    before = sorted(tmp_path.iterdir())
    arguments = [str(source), str(tmp_path / "out.mp4"), "--codec", codec, "--preset", preset, "--model", "none"]
    process = subprocess.Popen([sys.executable, "-m", "scene", "encode", *arguments], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".out.mp4.*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.splitlines()[-1] == f"scene: {said}"
    assert "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


def test_help_needs_neither_torch_nor_av():
    program = (
        "import sys; from scene.cli import run; code = run(['encode', '--help']); "
        "sys.exit(code or int(bool({'torch', 'av', 'numpy'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--encoder-args" in done.stdout


def test_overwriting_replaces_the_file_a_link_points_to(source, tmp_path):
    real, link = tmp_path / "real.mkv", tmp_path / "link.mkv"
    real.write_text("old")
    link.symlink_to(real)
    assert run(["encode", str(source), str(link), "-y", "--model", "none"]) == 0
    assert link.is_symlink() and len(decoded(Path(real))) == 3
    mask = os.umask(0)
    os.umask(mask)
    assert real.stat().st_mode & 0o777 == 0o666 & ~mask
