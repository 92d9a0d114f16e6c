"""The verified end: what is damaged between the muxer and the disk is noticed, and nothing is published."""

import os
import re

import av
import pytest
from making import encode, make_network, make_video
from sources import ffmpeg, for_suffix

import scene.jobs.encode
from scene.video.container.digest import TrackDigest
from scene.video.container.verify import verify

# Noise, so that frames are large enough to be hit; several key frames.
NOISY = "testsrc2=s=96x64:r=25:d=1.6,noise=alls=40:allf=t"
COLOUR = "color_primaries=bt2020:color_trc=bt2020-10:colorspace=bt2020nc:range=tv"
CODED = ("--encoder-args", "keyint=10", "--crf", "20", "--preset", "veryfast")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """40 frames with audio and subtitles, tags of every kind on the pictures."""
    folder = tmp_path_factory.mktemp("verify")
    text = folder / "in.srt"
    text.write_text("".join(f"{i}\n00:00:0{i},100 --> 00:00:0{i},300\nHello {i}\n\n" for i in (0, 1)))
    ffmpeg(
        *("-f", "lavfi", "-i", NOISY, "-f", "lavfi", "-i", "anoisesrc=d=1.6:r=48000", "-i", text),
        *("-map", "0", "-map", "1", "-map", "2", "-vf", f"setsar=4/3,setparams={COLOUR}"),
        *("-c:v", "libx264", "-crf", "1"),
        *("-c:a", "aac", "-b:a", "96k", folder / "in.mkv"),
    )
    return folder / "in.mkv"


@pytest.fixture
def damaged(monkeypatch):
    """Has a function spoil the written file on its way to verification, in which all else is real."""

    def install(spoil):
        def spoiled(path, *arguments):
            spoil(path, *arguments)
            verify(path, *arguments)

        monkeypatch.setattr(scene.jobs.encode, "verify", spoiled)

    return install


def run(source, target, *options):
    return encode(source, target, *for_suffix(target.suffix)[:2], *CODED, *options)


def remux(path, keep, **changes):
    """Writes the packets that `keep` takes, of (stream's type, its nth packet), into the file anew."""
    kinds = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".ts": "mpegts"}
    suffix = re.sub(r"\.[0-9a-f]+\.part$", "", path.name)[-4:]
    container = kinds["." + suffix.rpartition(".")[2]]
    other = path.with_name("other")
    with av.open(str(path)) as old, av.open(str(other), "w", format=container) as new:
        copies = {s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams if s.type != "data"}
        counts = dict.fromkeys(copies, 0)
        for packet in old.demux():
            index = packet.stream.index
            if not packet.size or index not in copies:
                continue
            nth, kind = counts[index], packet.stream.type
            counts[index] += 1
            if keep(kind, nth):
                shift = changes.get(kind, 0)
                packet.pts += round(shift / packet.time_base)
                packet.dts = packet.dts if packet.dts is None else packet.dts + round(shift / packet.time_base)
                packet.stream = copies[index]
                new.mux(packet)
    other.replace(path)


def refused(capfd, folder, text):
    said = capfd.readouterr().err.splitlines()[-1]
    assert re.search(text, said), said
    assert [p.name for p in folder.iterdir()] == []


SPOILT = "the content of the video has changed|a frame of it|frames were written|cannot be read back"
LOST = [("video", 39), ("audio", 0), ("audio", 30), ("subtitle", 1)]
SUFFIXES = [".mp4", ".mov", ".mkv", ".ts"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("thoroughness", ["quick", "full"])
def test_a_sound_file_passes(source, tmp_path, capfd, damaged, suffix, thoroughness):
    damaged(lambda path, *_: None)
    assert run(source, tmp_path / f"out{suffix}", "--verify", thoroughness) == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("part", [0, 0.3, 0.97])
def test_truncation(source, tmp_path, capfd, damaged, suffix, part):
    damaged(lambda path, *_: os.truncate(path, round(path.stat().st_size * part)))
    assert run(source, tmp_path / f"out{suffix}") == 4
    refused(capfd, tmp_path, f"{SPOILT}|packets of stream")


@pytest.mark.parametrize(
    "suffix,kind,nth",
    [(suffix, kind, nth) for suffix in SUFFIXES for kind, nth in LOST if (suffix, kind) != (".ts", "subtitle")],
)
def test_a_lost_packet(source, tmp_path, capfd, damaged, suffix, kind, nth):
    damaged(lambda path, *_: remux(path, lambda k, n: (k, n) != (kind, nth)))
    assert run(source, tmp_path / f"out{suffix}") == 4
    refused(capfd, tmp_path, "39 of 40 frames were written" if kind == "video" else rf"packets of stream . \(.* {kind}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_lost_track(source, tmp_path, capfd, damaged, suffix):
    damaged(lambda path, *_: remux(path, lambda kind, nth: kind != "audio"))
    assert run(source, tmp_path / f"out{suffix}") == 4
    refused(capfd, tmp_path, "0 of 1 audio tracks")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_audio_out_of_step(source, tmp_path, capfd, damaged, suffix):
    damaged(lambda path, *_: remux(path, lambda kind, nth: True, audio=0.2))
    assert run(source, tmp_path / f"out{suffix}") == 4
    refused(capfd, tmp_path, r"audio\) was written at 0\.\d+ s instead of")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_video_out_of_step(source, tmp_path, capfd, damaged, suffix):
    damaged(lambda path, *_: remux(path, lambda kind, nth: True, video=0.2))
    assert run(source, tmp_path / f"out{suffix}") == 4
    # Transport streams have no zero: there the audio is out of step.
    refused(capfd, tmp_path, "frame 0 was written at 0.2" if suffix != ".ts" else "was written at -?0")


def totals(path):
    """Size and checksum of the video's content."""
    video = TrackDigest("video", "h264", "")
    with av.open(str(path)) as file:
        for packet in file.demux(video=0):
            video.add(packet)
    return video.size, video.checksum


def payload(path, kind, nth):
    """Where a packet lies in the file."""
    with av.open(str(path)) as file:
        stream = next(s for s in file.streams if s.type == kind)
        packet = [p for p in file.demux(stream) if p.size][nth]
        content, whole = bytes(packet), path.read_bytes()
    # Beyond the parameter sets, in a piece that transport streams have not cut in two.
    places = range(len(content) // 3, len(content), 8)
    return next(at for place in places if (at := whole.find(content[place : place + 40])) > 0)


def flip(path, kind, nth):
    data = bytearray(path.read_bytes())
    data[payload(path, kind, nth) + 20] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("nth", [1, 20])
def test_flipped_bits_in_audio(source, tmp_path, capfd, damaged, suffix, nth):
    damaged(lambda path, *_: flip(path, "audio", nth))
    assert run(source, tmp_path / f"out{suffix}") == 4
    refused(capfd, tmp_path, "the content of stream 1 .* has changed|packets of stream 1|was written at")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("nth", [0, 5, 39])
@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_flipped_bits_in_video(source, tmp_path, capfd, damaged, suffix, nth, codec):
    damaged(lambda path, *_: flip(path, "video", nth))
    assert run(source, tmp_path / f"out{suffix}", "--codec", codec) == 4
    refused(
        capfd, tmp_path, "the content of the video has changed|a frame of it|frames were written|cannot be read back"
    )


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("nth", [0, 5, 39])
def test_flipped_bits_in_av1(source, tmp_path, capfd, damaged, suffix, nth):
    damaged(lambda path, *_: flip(path, "video", nth))
    quick = ("--map", "v", "--codec", "svtav1", "--preset", "12", "--model", "none")
    assert encode(source, tmp_path / f"out{suffix}", *quick) == 4
    refused(
        capfd, tmp_path, "the content of the video has changed|a frame of it|frames were written|cannot be read back"
    )


def first_unit(path, nth):
    """Where the nth packet's first NAL unit begins, behind its length."""
    with av.open(str(path)) as file:
        packet = [bytes(p) for p in file.demux(video=0) if p.size][nth]
    return path.read_bytes().index(packet) + 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("at,length,value", [(0, 1, 0x0C), (40, 60, 0xFF)])  # a unit that is filler data; nonsense
def test_full_decodes_every_frame(source, tmp_path, capfd, damaged, suffix, at, length, value):
    """An encoder that has given nonsense for one frame, as the account says: only decoding tells."""

    def spoil(path, name, written, thoroughness):
        data = bytearray(path.read_bytes())
        start = first_unit(path, 15) + at
        data[start : start + length] = bytes([value]) * length
        path.write_bytes(data)
        written.video.size, written.video.checksum = totals(path)

    damaged(spoil)
    options = ("--encoder-args", "keyint=10:bframes=0:scenecut=0", "--map", "v", "--model", "none", "--crf", "20")
    assert encode(source, tmp_path / f"out{suffix}", *options, "--verify", "full") == 4
    refused(capfd, tmp_path, "a frame of it (cannot be decoded|is damaged)")
    assert encode(source, tmp_path / f"out{suffix}", *options, "--verify", "quick") == 0


@pytest.mark.parametrize(
    "options,text",
    [
        (["-vf", "setparams=color_trc=bt709"], "colour transfer"),
        (["-vf", "setparams=colorspace=bt709"], "colour matrix"),
        (["-vf", "setparams=color_primaries=bt709"], "colour primaries"),
        (["-vf", "setparams=range=pc"], "full range"),
        (["-vf", "setsar=1"], "sample aspect ratio"),
        (["-vf", "scale=64:64,setsar=4/3"], "64x64 .* instead of 96x64"),
        (["-pix_fmt", "yuv422p"], "yuv422p instead of"),
    ],
)
def test_wrong_properties(source, tmp_path, capfd, damaged, options, text):
    def spoil(path, name, written, thoroughness):
        """The same frames coded again, of which only what is to be wrong is changed; the account is of this file."""
        other = path.with_name("other.mkv")
        ffmpeg("-i", path, "-map", "0", "-c", "copy", "-c:v", "libx264", "-qp", "0", "-bf", "0", *options, other)
        other.replace(path)
        written.video.size, written.video.checksum = totals(path)

    damaged(spoil)
    assert run(source, tmp_path / "out.mkv") == 4
    refused(capfd, tmp_path, text)


def test_a_lost_rotation(tmp_path, capfd, damaged):
    source = make_video(tmp_path / "in.mp4", codec="libx264", rotation=90)
    folder = tmp_path / "out"
    folder.mkdir()

    def spoil(path, *_):
        other = path.with_name("other.mp4")
        ffmpeg("-display_rotation", "0", "-i", path, "-c", "copy", other)
        other.replace(path)

    damaged(spoil)
    assert run(source, folder / "out.mp4") == 4
    refused(capfd, folder, "its rotation was lost")


def test_lost_hdr_metadata(tmp_path, capfd, monkeypatch):
    """Here the encoder does not get it: what an option that it does not know any more would do."""
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    params = f"log-level=none:hdr10=1:repeat-headers=1:master-display={display}:max-cll=1000,400"
    source = make_video(
        tmp_path / "in.mkv", codec="libx265", pix_fmt="yuv420p10le", frames=4, options={"x265-params": params}
    )
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr("scene.video.encoders.x265.X265.hdr_params", lambda encoder, hdr: [])
    assert encode(source, folder / "out.mkv", "--codec", "x265", "--model", "none") == 4
    refused(capfd, folder, "its content light level was lost")


def test_tags_that_the_user_asked_for_are_right(source, tmp_path):
    changed = ("--encoder-args", "transfer=bt709:sar=1/1")
    assert encode(source, tmp_path / "out.mkv", "--model", "none", *changed) == 0


def test_an_old_file_survives(source, tmp_path, capfd, damaged):
    target = tmp_path / "out.mkv"
    target.write_text("precious")
    damaged(lambda path, *_: os.truncate(path, 5000))
    assert run(source, target, "-y") == 4
    assert target.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]


def test_with_a_network(source, tmp_path, damaged):
    damaged(lambda path, *_: remux(path, lambda kind, nth: (kind, nth) != ("audio", 7)))
    network = make_network(tmp_path / "net.safetensors")
    assert encode(source, tmp_path / "out.mkv", "--model", network) == 4
    assert not (tmp_path / "out.mkv").exists()
