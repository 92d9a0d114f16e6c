"""`scene encode --dry-run`: the plan, what a trial says of it, and nothing written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest
from making import encode, make_network, make_video
from sources import ffmpeg

FAST = ("--preset", "ultrafast", "--crf", "30")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds with moving texture, which costs the same all over."""
    return make_video(tmp_path_factory.mktemp("clip") / "in.mkv", frames=250, size=(320, 192))


def video_bytes(path: Path) -> int:
    with av.open(str(path)) as file:
        return sum(packet.size for packet in file.demux(video=0))


def planned(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert encode(*arguments, "--dry-run", "--log-format", "json") == 0
    out, err = capfd.readouterr()
    assert out == ""
    event = json.loads(err.splitlines()[-1])
    assert event["event"] == "result" and event["message"].endswith(": not written")
    return event


@pytest.mark.parametrize("with_model", [False, True])
def test_size_and_time_come_from_a_trial(clip, tmp_path, capfd, with_model):
    network = make_network(tmp_path / "same.safetensors", identity=True) if with_model else "none"
    out = tmp_path / "out.mkv"
    arguments = (clip, out, *FAST, "--model", network, "--device", "cpu", "--no-compare")
    plan = planned(capfd, *arguments)
    assert not out.exists() and plan["estimate"]["frames"] == 72 and plan["estimate"]["unknown"] == ""
    assert encode(*arguments, "--log-format", "json") == 0
    result = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert plan["estimate"]["bytes"] == pytest.approx(video_bytes(out), rel=0.15)
    # Beside other work times differ; what is wrong by an order is caught.
    assert result["seconds"] / 8 < plan["estimate"]["seconds"] < 8 * result["seconds"]
    assert plan["model"] == result["model"]
    assert plan["quality"] == "CRF 30" and plan["encoder"]["preset"] == "ultrafast"
    assert plan["encoder"]["options"]["crf"] == "30" and plan["video_seconds"] == 10


def test_a_short_video_is_tried_whole(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", frames=20, size=(320, 192))
    out = tmp_path / "out.mkv"
    alone = (*FAST, "--encoder-args", "threads=1", "--model", "none")
    plan = planned(capfd, source, out, *alone)
    assert plan["estimate"]["frames"] == 20
    assert encode(source, out, *alone) == 0
    # But for x264's message with its settings.
    assert plan["estimate"]["bytes"] == pytest.approx(video_bytes(out), abs=800)


def test_streams_are_named_with_what_becomes_of_them(tmp_path, capfd):
    source = tmp_path / "in.mkv"
    (tmp_path / "font.ttf").write_bytes(b"font")
    (tmp_path / "words.srt").write_text("1\n00:00:00,100 --> 00:00:00,500\nhello\n")
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.6", "-f", "lavfi", "-i", "sine=d=0.6"),
        *("-i", tmp_path / "words.srt", "-map", "0", "-map", "1", "-map", "1", "-map", "2", "-c:a", "aac"),
        *("-attach", tmp_path / "font.ttf", "-metadata:s:t", "mimetype=font/ttf", source),
    )
    before = sorted(tmp_path.iterdir())
    assert encode(source, tmp_path / "out.mp4", *FAST, "--model", "none", "--map", "-a:1", "--dry-run") == 0
    out, err = capfd.readouterr()
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == f"{source} -> {tmp_path / 'out.mp4'}"
    assert lines[1].startswith("video     stream 0 (h264 video), 0.6 s")
    assert lines[2] == "model     none"
    assert lines[3] == "encoder   x264 ultrafast, CRF 30"
    assert "64x48 yuv420p " in lines[4] and "crf=30" in lines[4]
    assert lines[5] == "kept      stream 1 (aac audio)"
    assert lines[6].startswith("converted stream 3 (ass subtitle")
    assert lines[7].startswith("left out  stream 4 (font.ttf attachment") and "the container cannot hold it" in lines[7]
    assert lines[8] == "left out  stream 2 (aac audio): not asked for"
    assert lines[9].startswith("time      about ") and lines[10].startswith("size      about ")
    assert "warning" in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "quality", "unknown"),
    [
        (("--target", "vmaf-neg=93"), "VMAF NEG 93, by a search", "the CRF is known after a search"),
        (
            ("--target", "vmaf=95", "--max-kbps", 900),
            "VMAF 95 within 900 kbit/s, by a search",
            "the CRF is known after",
        ),
        (("--bitrate", 400), "400 kbit/s", "a bitrate is not tried on parts"),
        (("--encoder-args", "zones=0,5,q=9"), "CRF 23", "parts of it cannot be tried"),
    ],
)
def test_what_was_not_tried_is_not_known(clip, tmp_path, capfd, arguments, quality, unknown):
    plan = planned(capfd, clip, tmp_path / "out.mkv", "--model", "none", *arguments)
    assert plan["quality"] == quality
    estimate = plan["estimate"]
    assert estimate["seconds"] is None and estimate["frames"] == 0 and estimate["unknown"].startswith(unknown)
    # A bitrate is its own size.
    assert estimate["bytes"] == (400 * 1000 / 8 * 10 if "--bitrate" in arguments else None)
    assert list(tmp_path.iterdir()) == []
    assert encode(clip, tmp_path / "out.mkv", "--model", "none", *arguments, "--dry-run") == 0
    assert f"time      unknown: {unknown}" in capfd.readouterr().out


def test_what_would_be_refused_is_refused(clip, tmp_path, capfd):
    (tmp_path / "there.mkv").write_text("mine")
    for arguments, code, said in (
        ((clip, tmp_path / "there.mkv"), 2, "exists; give --overwrite"),
        ((clip, tmp_path / "out.webm"), 2, "webm files cannot hold x264 video"),
        ((tmp_path / "none.mkv", tmp_path / "out.mkv"), 3, "does not exist"),
        ((clip, tmp_path / "out.mkv", "--encoder-args", "no-such=1"), 2, "--encoder-args"),
    ):
        assert encode(*arguments, "--model", "none", "--dry-run") == code
        out, err = capfd.readouterr()
        assert out == "" and said in err
    assert (tmp_path / "there.mkv").read_text() == "mine"


def test_many_are_planned_each_by_itself(clip, tmp_path, capfd):
    out = tmp_path / "out"
    out.mkdir()
    assert encode(clip, tmp_path / "none.mkv", out, *FAST, "--model", "none", "--dry-run") == 1
    printed, err = capfd.readouterr()
    assert printed.startswith(f"{clip} -> {out / 'in.mkv'}\n") and "none.mkv does not exist" in err
    assert "1 of 2 files failed" in err and list(out.iterdir()) == []


def test_a_reader_that_leaves_ends_it_without_a_word(clip, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    copies = [shutil.copy(clip, tmp_path / f"{number}.mkv") for number in range(3)]
    command = [sys.executable, "-m", "scene", "encode", *copies, out, *FAST, "--model", "none", "--dry-run"]
    read, write = os.pipe()
    process = subprocess.Popen(list(map(str, command)), stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    os.close(read)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "unexpected" not in err and err.count(" of 3)") == 1
