"""Damaged files of five kinds: documented exit codes, no traceback, nothing under the destination's name, and soon."""

import random
from collections import Counter
from fractions import Fraction

import pytest
from fuzz_server import run_forked
from making import make_video

from scene.video.ffmpeg import find_ffmpeg

DONE, USAGE, INPUT, VERIFICATION = 0, 2, 3, 4
LIMIT_S, LIMIT_MB = 10, 2048


def sources(folder):
    """Five small files: containers, video codecs and audio codecs of different kinds."""
    frame = Fraction(1, 25)
    tracks = {"subtitles": True, "chapters": True, "audio": "aac"}
    return [
        make_video(folder / "a.mkv", codec="libx264", frames=12, **tracks),
        make_video(folder / "b.mp4", codec="libx264", frames=12, rotation=90, **tracks),
        make_video(folder / "c.webm", codec="libvpx-vp9", frames=12, audio="libopus"),
        make_video(folder / "d.ts", codec="mpeg2video", frames=12, audio="mp2", time_base=frame),
        make_video(folder / "e.mov", codec="libx265", frames=12, audio="pcm_s16le"),
    ]


def flipped(data, rng):
    """A few bits are others, anywhere or in the headers."""
    damaged = bytearray(data)
    end = rng.choice([len(data), len(data), 600])
    for _ in range(rng.choice([1, 5, 40])):
        damaged[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return damaged


def torn(data, rng):
    """A piece is missing, blank, doubled, or something else stands in between."""
    damaged = bytearray(data)
    start = rng.randrange(len(data))
    length = rng.choice([1, 16, 188, 2000])
    piece = rng.choice([b"", bytes(length), rng.randbytes(length), data[start : start + length] * 2])
    damaged[start : rng.choice([start, start + length, len(data)])] = piece
    return damaged


def check(reports, allowed, destinations):
    """No report may be anything but an orderly end."""
    for report in reports:
        assert report["code"] in allowed, report
        assert "Traceback" not in report["messages"] and "unexpected" not in report["messages"], report
        assert report["seconds"] < LIMIT_S and report["memory_mb"] < LIMIT_MB, report
        assert destinations[report["name"]].exists() == (report["code"] == DONE), report


def fuzz(folder, damage, count, seed):
    """Damages the sources `count` times in all and encodes each; how often each exit code came."""
    rng = random.Random(seed)
    whole = [(path.suffix, path.read_bytes()) for path in sources(folder)]
    cases, destinations = [], {}
    for index in range(count):
        suffix, data = whole[index % len(whole)]
        path = folder / f"{index}{suffix}"
        path.write_bytes(damage(data, rng))
        name = path.name
        destinations[name] = folder / f"out{index}{rng.choice(['.mkv', '.mp4', '.mov'])}"
        options = ["--model", "none", "--preset", "ultrafast", "--on-error", rng.choice(["fail", "skip"])]
        cases.append((name, ["encode", str(path), str(destinations[name]), *options]))
    reports = run_forked(cases)
    assert len(reports) == count
    check(reports, {DONE, USAGE, INPUT, VERIFICATION}, destinations)
    assert not list(folder.glob(".*.part"))
    return Counter(report["code"] for report in reports)


@pytest.mark.parametrize("damage", [flipped, torn])
def test_two_hundred_damaged_files(tmp_path, damage):
    codes = fuzz(tmp_path, damage, 200, seed=11)
    # Some are refused and some survive, or the damage would be of the wrong size.
    assert codes[DONE] > 20 and codes[INPUT] > 20, codes


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flipped, torn])
def test_thousands_of_damaged_files(tmp_path, damage):
    fuzz(tmp_path, damage, 4000, seed=12)


@pytest.mark.parametrize("damage", [flipped, torn])
def test_damaged_streams_of_a_filter(tmp_path, damage):
    """YUV4MPEG2, which is read as from a pipe, and nut."""
    rng = random.Random(13)
    source = make_video(tmp_path / "in.mkv", frames=6)
    ffmpeg = find_ffmpeg()
    whole = []
    for suffix, options in ((".y4m", ["-f", "yuv4mpegpipe"]), (".nut", ["-c:v", "rawvideo", "-f", "nut"])):
        ffmpeg.run(["-i", str(source), *options, str(tmp_path / f"whole{suffix}")])
        whole.append((suffix, (tmp_path / f"whole{suffix}").read_bytes()))
    cases, destinations = [], {}
    for index in range(60):
        suffix, data = whole[index % 2]
        path = tmp_path / f"{index}{suffix}"
        path.write_bytes(damage(data, rng))
        destinations[path.name] = tmp_path / f"out{index}{suffix}"
        cases.append((path.name, ["filter", str(path), str(destinations[path.name]), "--model", "none"]))
    reports = run_forked(cases)
    check(reports, {DONE, INPUT}, destinations)
    assert {report["code"] for report in reports} == {DONE, INPUT}


def test_the_server_reports_what_happened(tmp_path):
    """A report tells an orderly end from a crash, and small memory from large."""
    source = make_video(tmp_path / "in.mkv", frames=2)
    good, bad = run_forked(
        [
            ("good", ["encode", str(source), str(tmp_path / "out.mkv"), "--model", "none"]),
            ("bad", ["encode", str(source), str(tmp_path / "out.mkv"), "--model", "none"]),
        ]
    )
    assert (good["code"], bad["code"]) == (DONE, USAGE)
    assert "give --overwrite" in bad["messages"]
    assert good["seconds"] > 0 and good["memory_mb"] > 20


# More than FFmpeg takes, and what it takes as 8K and more: 65535, 16384 and 8192 a side.
@pytest.mark.parametrize("side", [65535, 16384, 8192])
@pytest.mark.parametrize("kind", ["mjpeg", "vp9"])
def test_a_header_that_claims_a_huge_picture(tmp_path, side, kind):
    path = {"mjpeg": huge_mjpeg, "vp9": huge_vp9}[kind](tmp_path, side)
    out = tmp_path / "out.mkv"
    cases = [
        (mode, ["encode", str(path), str(out), "--model", "none", "--on-error", mode]) for mode in ("fail", "skip")
    ]
    reports = run_forked(cases)
    check(reports, {INPUT}, {"fail": out, "skip": out})
    assert all(report["memory_mb"] < 500 for report in reports)


def huge_mjpeg(folder, side):
    """Motion JPEG whose frame headers (SOF0) claim another size."""
    path = make_video(folder / "huge.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=3)
    data = path.read_bytes()
    header = b"\xff\xc0\x00\x11\x08"
    size = (48).to_bytes(2, "big") + (64).to_bytes(2, "big")
    assert data.count(header + size) == 3
    path.write_bytes(data.replace(header + size, header + side.to_bytes(2, "big") * 2))
    return path


def huge_vp9(folder, side):
    """VP9 whose key frame claims another size: after the sync code, four bits and then twice sixteen."""
    path = make_video(folder / "huge.webm", codec="libvpx-vp9", frames=3)
    data = bytearray(path.read_bytes())
    start = data.index(b"\x49\x83\x42") + 3
    bits = int.from_bytes(data[start : start + 6], "big")
    sizes = (side - 1) << 28 | (side - 1) << 12
    data[start : start + 6] = (bits >> 44 << 44 | sizes | bits & 0xFFF).to_bytes(6, "big")
    path.write_bytes(data)
    return path
