"""`scene encode --codec vvenc`: another program's encoder, and nothing lost on the way to it and back."""

import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from making import assert_same_times, decoded, encode, make_video, packets
from sources import contents

from scene.errors import MissingError, UsageError
from scene.jobs.search import SearchRequest, Target, search
from scene.options import EnhanceOptions
from scene.picture import Picture, PictureFormat
from scene.video.container.digest import TrackDigest
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding import process
from scene.video.encoding.external import raw_planes
from scene.video.encoding.process import PacketProcess
from scene.video.ffmpeg import ProcessError, find_encoding_ffmpeg
from scene.video.source.probe import probe

UNEVEN = [0, 7, 80, 81, 300, 340, 377, 900, 901, 1400, 1500, 1533]
HDR10 = (
    "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=none:hdr10=1:repeat-headers=1:max-cll=1000,400:"
    "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,50)"
)


@pytest.fixture(scope="module", autouse=True)
def _program():
    try:
        find_encoding_ffmpeg("libvvenc")
    except MissingError as error:
        pytest.skip(str(error))


def vvenc(source, target, *arguments):
    return encode(source, target, "--codec", "vvenc", "--model", "none", *arguments)


def refused(capfd, code, *arguments):
    """The sentence with which the command ends."""
    assert vvenc(*arguments) == code
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("scene: ")
    assert last.endswith(".")
    assert not Path(arguments[1]).exists()
    return last.removeprefix("scene: ")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts", ".m2ts"])
def test_each_frame_at_its_time_among_the_other_tracks(tmp_path, suffix):
    source = make_video(
        tmp_path / "in.mkv", stamps=UNEVEN, audio="aac", pix_fmt="yuv420p10le", chapters=True, rotation=90
    )
    target = tmp_path / f"out{suffix}"
    assert vvenc(source, target, "--crf", "20", "--verify", "full") == 0
    before, after = decoded(source), decoded(target)
    late = 0 if suffix not in {".ts", ".m2ts"} else after[0].time - before[0].time
    assert len(before) == len(after) == len(UNEVEN)
    for frame, kept in zip(before, after, strict=True):
        assert abs(kept.time - late - frame.time) < Fraction(1, 1000)
        for a, b in zip(frame.planes, kept.planes, strict=True):
            assert np.abs(a.astype(int) - b).mean() < 40
    assert len(contents(source, "audio")) == len(contents(target, "audio"))
    info = probe(target)
    assert info.codec == "vvc"
    assert info.pixel_format == "yuv420p10le"
    assert (info.display_matrix is not None) == (suffix not in {".ts", ".m2ts"})


def test_frames_in_ticks_of_a_fine_clock(tmp_path):
    stamps = [0, 3003, 6007, 9009, 12345, 90001, 90002]
    source = make_video(tmp_path / "in.mp4", codec="libx264", stamps=stamps, time_base=Fraction(1, 90000))
    assert vvenc(source, tmp_path / "out.mp4") == 0
    with av.open(str(tmp_path / "out.mp4")) as file:
        video = file.streams.video[0]
        ticks = sorted(p.pts * video.time_base * 90000 for p in file.demux(video) if p.size)
    assert ticks == stamps


@pytest.mark.parametrize("frames", [1, 2])
def test_very_short_videos(tmp_path, frames):
    source = make_video(tmp_path / "in.mkv", frames=frames)
    for suffix in (".mkv", ".mp4"):
        assert vvenc(source, tmp_path / f"out{suffix}") == 0
        assert_same_times(decoded(source), decoded(tmp_path / f"out{suffix}"))


def test_8_bit_become_10(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=2)
    target = tmp_path / "out.mkv"
    assert vvenc(source, target, "--crf", "20") == 0
    for frame, kept in zip(decoded(source), decoded(target), strict=True):
        for a, b in zip(frame.planes, kept.planes, strict=True):
            assert kept.planes[0].dtype == np.uint16
            assert np.abs(4 * a.astype(int) - b).mean() < 40
            assert abs((4 * a.astype(int) - b).mean()) < 3


def test_samples_are_handed_over_as_they_are():
    rng = np.random.default_rng(3)
    for depth, dtype in ((8, np.uint8), (10, np.uint16)):
        fmt = PictureFormat(17, 5, depth, "420")
        planes = tuple(rng.integers(0, 1 << depth, shape, dtype) for shape in fmt.plane_shapes)
        sent = [np.frombuffer(part, "<u2") for part in raw_planes(Picture(fmt, planes), (18, 6))]
        for plane, words, shape in zip(planes, sent, ((6, 18), (3, 9), (3, 9)), strict=True):
            whole = np.pad(plane, [(0, s - p) for s, p in zip(shape, plane.shape, strict=True)], "edge")
            assert np.array_equal(words.reshape(shape), whole.astype(int) << 10 - depth)


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (20, 14), (98, 66)])
def test_small_and_odd_sizes(tmp_path, size):
    source = make_video(tmp_path / "in.mkv", size=size, frames=3)
    assert vvenc(source, tmp_path / "out.mkv", "--crf", "45", "--verify", "full") == 0
    shown = decoded(tmp_path / "out.mkv")
    assert shown[0].planes[0].shape == (size[1] + size[1] % 2, size[0] + size[0] % 2)


def test_hdr10_and_colour_tags(tmp_path):
    source = make_video(
        tmp_path / "in.mkv", codec="libx265", pix_fmt="yuv420p10le", options={"x265-params": HDR10}, frames=3
    )
    for suffix in (".mkv", ".mp4", ".ts"):
        target = tmp_path / f"out{suffix}"
        assert vvenc(source, target) == 0
        meant, found = probe(source), probe(target)
        assert meant.hdr.mastering is not None
        assert found.hdr == meant.hdr
        assert found.colour == meant.colour


@pytest.mark.parametrize("number", [1, 2])
def test_range_and_aspect(tmp_path, number):
    colour = (1, 1, 1, number)
    source = make_video(tmp_path / "in.mkv", codec="libx264", colour=colour, sar=Fraction(4, 3), frames=3)
    for suffix in (".mkv", ".mp4", ".ts"):
        target = tmp_path / f"out{suffix}"
        assert vvenc(source, target, "--crf", "20") == 0
        info = probe(target)
        assert info.format.full_range == (number == 2)
        assert info.sample_aspect_ratio == Fraction(4, 3)
        assert info.colour == probe(source).colour
        shown = decoded(source)[0].planes[0].astype(int) * 4 - decoded(target)[0].planes[0]
        assert abs(shown.mean()) < 3


def test_a_chroma_location_that_is_lost_is_named(tmp_path, capfd):
    source = make_video(tmp_path / "in.mp4", codec="libx264", options={"chroma_sample_location": "topleft"}, frames=2)
    assert vvenc(source, tmp_path / "out.mkv") == 0
    assert "chroma lies topleft" in capfd.readouterr().err


def test_parameters_reach_the_encoder(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=20)
    assert vvenc(source, tmp_path / "out.mp4", "--encoder-args", "intraperiod=16:gopsize=16") == 0
    assert vvenc(source, tmp_path / "rare.mp4", "--encoder-args", "intraperiod=-1") == 0
    keys = []
    for name in ("out.mp4", "rare.mp4"):
        with av.open(str(tmp_path / name)) as file:
            keys.append(sum(p.is_keyframe for p in file.demux(video=0) if p.size))
    assert keys == [2, 1]


def test_qp_and_presets_reach_the_encoder(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=6)
    sizes = []
    for index, arguments in enumerate((("--crf", "40"), (), ("--crf", "32"), ("--preset", "medium"))):
        target = tmp_path / f"{index}.mkv"
        assert vvenc(source, target, *arguments) == 0
        sizes.append(sum(len(data) for _, data in packets(target, "video")))
    assert sizes[0] < sizes[1] == sizes[2]
    assert sizes[3] != sizes[2]


def test_a_bitrate_in_one_pass(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=50, size=(128, 96))
    sizes = []
    for kbps in (100, 400):
        target = tmp_path / f"{kbps}.mkv"
        assert vvenc(source, target, "--bitrate", kbps) == 0
        sizes.append(sum(len(data) for _, data in packets(target, "video")) * 8 / 2 / 1000)
    assert sizes == pytest.approx([100, 400], rel=0.5)


def test_mistakes_are_named_before_work_begins(tmp_path, capfd):
    source, target = make_video(tmp_path / "in.mkv", frames=2), tmp_path / "out.mkv"
    for arguments, said in [
        (("--encoder-args", "nosuch=1"), "vvenc does not take this of --encoder-args: nosuch."),
        (("--encoder-args", "qpa=9"), "vvenc does not take this of --encoder-args: qpa=9."),
        (("--encoder-args", "gopsize=7"), "GOP size"),
        (("--encoder-args", "QP=20"), "use --crf"),
        (("--encoder-args", "internalbitdepth=8"), "10 bit are coded"),
        (("--encoder-args", "qpa"), None),
        (("--crf", "64"), "0 to 63"),
        (("--crf", "20.5"), "whole numbers"),
        (("--preset", "placebo"), "faster, fast, medium, slow, slower"),
        (("--bitrate", "500", "--passes", "2"), "makes one pass"),
        (("--guard",), "--guard cannot try shots with vvenc"),
    ]:
        if said is None:
            assert vvenc(source, target, *arguments) == 0
            target.unlink()
        else:
            assert said in refused(capfd, 2, source, target, *arguments)
    assert "webm files cannot hold vvenc video" in refused(capfd, 2, source, tmp_path / "out.webm")
    tiny = make_video(tmp_path / "tiny.mkv", size=(8, 8), frames=2)
    assert "pictures of 8x8 are too small" in refused(capfd, 2, tiny, target)
    for pix_fmt, way_out in [("yuv444p", "x264 or x265"), ("yuv420p12le", "use x265"), ("gray", "x264 or x265")]:
        other = make_video(tmp_path / f"{pix_fmt}.mkv", pix_fmt=pix_fmt, frames=2)
        assert way_out in refused(capfd, 2, other, target)


def test_pictures_that_its_buffer_cannot_hold(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", pix_fmt="yuv420p10le", frames=2)
    assert "raise --crf" in refused(capfd, 1, source, tmp_path / "out.mkv", "--crf", "0")


def test_models_that_are_told_the_quantiser_refuse_a_bitrate(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", frames=2)
    assert encode(source, tmp_path / "out.mkv", "--codec", "vvenc", "--bitrate", "100") == 2
    assert "give --crf" in capfd.readouterr().err


def test_a_network_that_is_told_the_qp(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=3)
    assert encode(source, tmp_path / "out.mkv", "--codec", "vvenc", "--crf", "40") == 0
    assert vvenc(source, tmp_path / "plain.mkv", "--crf", "40") == 0
    assert [d for _, d in packets(tmp_path / "out.mkv", "video")] != [
        data for _, data in packets(tmp_path / "plain.mkv", "video")
    ]
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert any("codec vvenc; crf 40; preset faster" in value for value in file.metadata.values())


def test_a_search_refuses_it(tmp_path):
    source = make_video(tmp_path / "in.mkv", size=(320, 240), frames=4)
    settings = EncoderSettings("vvenc")
    request = SearchRequest(source, (Target("vmaf", 90),), settings=settings, enhancement=EnhanceOptions("none"))
    with pytest.raises(UsageError, match="vvenc"):
        search(request)


def test_without_the_program(tmp_path, capfd, monkeypatch):
    source, target = make_video(tmp_path / "in.mkv", frames=2), tmp_path / "out.mkv"
    monkeypatch.setenv("SCENE_FFMPEG", str(tmp_path / "nothing"))
    assert "libvvenc is needed" in refused(capfd, 6, source, target)
    other = tmp_path / "other"
    other.write_text('#!/bin/sh\n[ "$1" = -version ] && echo ffmpeg version 1\nexit 0\n')
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("SCENE_FFMPEG", str(other))
    assert "has none" in refused(capfd, 6, source, target)


def pretend(folder: Path, monkeypatch, then: str) -> None:
    """An ffmpeg program that works for a trial, and after it does what `then` says in the shell's words."""
    real = find_encoding_ffmpeg("libvvenc").path
    program = folder / "ffmpeg-that-fails"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *pipe:0*) [ -e "{folder}/tried" ] && {{ {then}; }}; touch "{folder}/tried";; esac\n'
        f'exec "{real}" "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("SCENE_FFMPEG", str(program))


@pytest.mark.parametrize(
    "then,said",
    [
        (
            "echo first >&2; echo the disk melts >&2; exit 3",
            "ended with code 3: the disk melts",
        ),
        ("head -c 9999 >/dev/null; echo gone >&2; kill -9 $$", "was killed by signal 9: gone"),
        ("cat >/dev/null; exit 0", "ffmpeg's libvvenc"),
        ("cat >/dev/null; echo rubbish; exit 0", "ffmpeg's libvvenc"),
    ],
)
def test_its_death_is_named(tmp_path, capfd, monkeypatch, then, said):
    source = make_video(tmp_path / "in.mkv", size=(128, 96), frames=40)
    pretend(tmp_path, monkeypatch, then)
    assert said in refused(capfd, 1, source, tmp_path / "out.mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ffmpeg-that-fails", "in.mkv", "tried"]


def test_its_hang_is_named(tmp_path, capfd, monkeypatch):
    source = make_video(tmp_path / "in.mkv", size=(128, 96), frames=40)
    pretend(tmp_path, monkeypatch, "exec sleep 600")
    monkeypatch.setattr(process, "_HUNG_S", 0.5)
    assert "did nothing for 0.5 s and was killed" in refused(capfd, 1, source, tmp_path / "out.mkv")


def test_frames_that_are_lost_on_the_way(tmp_path, capfd, monkeypatch):
    source = make_video(tmp_path / "in.mkv", size=(64, 48), frames=40)
    real = find_encoding_ffmpeg("libvvenc").path
    pretend(tmp_path, monkeypatch, f'head -c 92160 | {{ cat; cat >/dev/null <&3; }} 3<&0 | "{real}" "$@"; exit 0')
    refused(capfd, 1, source, tmp_path / "out.mkv")


def children(process: int) -> list[int]:
    conditioned = Path(f"/proc/{process}/task")
    return [int(child) for task in conditioned.iterdir() for child in (task / "children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are looked for in /proc")
@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_leaves_no_process_and_no_file(tmp_path, number, code):
    source = make_video(tmp_path / "in.mkv", size=(320, 240), frames=200)
    words = ["encode", source, tmp_path / "out.mkv", "--codec", "vvenc", "--preset", "slower", "--model", "none"]
    process = subprocess.Popen([sys.executable, "-m", "scene", *words], stderr=subprocess.PIPE, text=True)
    started: list[int] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            started = children(process.pid)
        if started and any(path.name.startswith(".") or "out" in path.name for path in tmp_path.iterdir()):
            time.sleep(0.5)  # the trial has ended, and the encode begun
            started = children(process.pid)
            if started:
                break
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(20) == code
    process.stderr.close()
    assert started
    left = [Path(f"/proc/{child}/stat").read_text()[:40] for child in started if Path(f"/proc/{child}").exists()]
    assert left == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_nobody_waits_for_a_process_that_was_killed(tmp_path):
    process = PacketProcess(["sleep", "600"], "sleep")
    failure = []

    def send():
        try:
            process.send([memoryview(bytes(1 << 24))])
        except ProcessError as error:
            failure.append(str(error))

    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive()  # the pipe is full
    process.kill()
    thread.join(10)
    assert failure == ["sleep was killed by signal 9: no message."]
    process.close()


def test_damaged_packets_are_seen(tmp_path, monkeypatch, capfd):
    source = make_video(tmp_path / "in.mkv", frames=10)
    real = TrackDigest.add
    seen = []

    def add(self, packet):
        if self.codec == "vvc" and not seen:
            seen.append(packet)
            data = bytearray(bytes(packet))
            data[-1] ^= 1
            other = av.Packet(bytes(data))
            other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
            return real(self, other)
        return real(self, packet)

    monkeypatch.setattr(TrackDigest, "add", add)
    assert "the content of the video has changed" in refused(capfd, 4, source, tmp_path / "out.ts")
