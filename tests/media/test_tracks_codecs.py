"""Tracks of old and of rare codecs: copied where FFmpeg has any way to, else refused with a way that works."""

import re
from fractions import Fraction

import av
import numpy as np
import pytest
from making import MS, decoded, encode, make_video, packets
from sources import PICTURES, ffmpeg, streams, with_second_stream

TONE = ("-f", "lavfi", "-i", "sine=f=440:r=44100:d=0.7")


def made(folder, suffix, video, audio, *options):
    path = folder / f"in{suffix}"
    ffmpeg(*PICTURES, *TONE, "-c:v", video, "-c:a", audio, *options, path)
    return path


def heard(path):
    """The codec of the first audio track, and its samples."""
    with av.open(str(path)) as file:
        name = file.streams.audio[0].codec_context.codec.canonical_name
        return name, np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)])


def assert_copied(source, target):
    before, after = packets(source, "audio"), packets(target, "audio")
    assert b"".join(data for _, data in before) == b"".join(data for _, data in after)
    (name, samples), (same_name, same_samples) = heard(source), heard(target)
    assert name == same_name
    assert np.array_equal(samples, same_samples)


# Codecs that Matroska holds by their number in WAV.
BY_NUMBER = [
    *((".avi", "mpeg4", codec) for codec in ("pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav", "adpcm_yamaha")),
    *((".mov", "libx264", codec) for codec in ("pcm_alaw", "pcm_mulaw", "adpcm_ms")),
    *((".wmv", "wmv2", codec) for codec in ("wmav1", "wmav2")),
    *((".mkv", "mpeg4", codec) for codec in ("pcm_alaw", "adpcm_ms", "wmav2")),
]


@pytest.mark.parametrize("suffix,video,codec", BY_NUMBER)
def test_old_codecs_into_matroska(tmp_path, capfd, suffix, video, codec):
    source, target = made(tmp_path, suffix, video, codec), tmp_path / "out.mkv"
    assert encode(source, target, "--model", "none") == 0
    assert "warning" not in capfd.readouterr().err
    assert_copied(source, target)
    # AVI counts in blocks of a codec, and Matroska in milliseconds.
    (first, _), *_ = packets(source, "audio")
    assert abs(packets(target, "audio")[0][0] - first) <= MS


def test_amr_of_telephones(tmp_path):
    source, target = made(tmp_path, ".3gp", "mpeg4", "libopencore_amrnb", "-ar", 8000, "-ac", 1), tmp_path / "out.mkv"
    assert encode(source, target, "--model", "none") == 0
    assert [data for _, data in packets(source, "audio")] == [data for _, data in packets(target, "audio")]
    (name, samples), (same_name, same_samples) = heard(source), heard(target)
    # What the edit list of mp4 hides at the beginning is heard.
    assert (name, len(samples)) == (same_name, len(same_samples) - 50)
    assert np.array_equal(samples[160:], same_samples[210:])


def test_latm_into_matroska_and_transport_streams(tmp_path):
    source = made(tmp_path, ".ts", "libx264", "aac", "-mpegts_flags", "+latm")
    assert heard(source)[0] == "aac_latm"
    for suffix in (".mkv", ".ts"):
        target = tmp_path / f"out{suffix}"
        assert encode(source, target, "--model", "none") == 0
        assert_copied(source, target)


def test_a_second_video_of_an_old_codec(tmp_path):
    source, target = tmp_path / "in.avi", tmp_path / "out.mkv"
    ffmpeg(*PICTURES, "-map", 0, "-map", 0, "-c:v:0", "mpeg4", "-c:v:1", "msvideo1", "-pix_fmt:v:1", "rgb555", source)
    assert encode(source, target, "--model", "none") == 0
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert after.streams.video[1].codec_context.codec.canonical_name == "msvideo1"
        frames = [[f.to_ndarray(format="rgb24") for f in file.decode(video=1)] for file in (before, after)]
    assert np.array_equal(*frames)


# Into a container that does not take it, and whether it is the container's fault.
REFUSED = [
    (".wmv", "wmv2", "wmav2", ".mp4", True, [".mkv"]),
    (".avi", "mpeg4", "pcm_alaw", ".mp4", True, [".mkv", ".mov"]),
    (".m2ts", "libx264", "pcm_bluray", ".mkv", False, [".m2ts"]),
    (".mov", "libx264", "adpcm_ima_qt", ".mkv", False, [".mov"]),
    (".flv", "flv", "nellymoser", ".mkv", False, [".mov"]),
    (".flv", "flv", "adpcm_swf", ".mkv", False, []),
    (".flv", "flv", "adpcm_swf", ".mp4", True, []),
]


@pytest.mark.parametrize("source_suffix,video,codec,suffix,held_nowhere,ways", REFUSED)
def test_a_refusal_names_ways_that_work(tmp_path, capfd, source_suffix, video, codec, suffix, held_nowhere, ways):
    rate = ("-ar", 48000) if codec == "pcm_bluray" else ("-ar", 44100)
    source, target = made(tmp_path, source_suffix, video, codec, *rate), tmp_path / f"out{suffix}"
    assert encode(source, target, "--model", "none") == 2
    said = capfd.readouterr().err
    assert (f"{suffix[1:]} files cannot hold" in said) == held_nowhere
    assert ("FFmpeg cannot write" in said) != held_nowhere
    assert re.findall(r"(?:use|or) (\.\w+)", said) == ways
    assert not list(tmp_path.glob("*.part"))
    for way in ways:
        other = tmp_path / f"other{way}"
        assert encode(source, other, "--model", "none") == 0
        assert_copied(source, other)
    without = re.search(r"leave it out with --map (\S+)\.$", said, re.MULTILINE)[1]
    assert encode(source, target, "--model", "none", "--map", without) == 0
    assert [kind for kind, _ in streams(target)] == ["video"]


def test_a_way_holds_all_tracks(tmp_path, capfd):
    """Matroska would hold the first, and a transport stream the second."""
    source = tmp_path / "in.mov"
    ffmpeg(*PICTURES, *TONE, "-map", 0, "-map", 1, "-map", 1, "-c:a:0", "pcm_alaw", "-c:a:1", "adpcm_ima_qt", source)
    assert encode(source, tmp_path / "out.mp4", "--model", "none") == 2
    assert re.findall(r"(?:use|or) (\.\w+)", capfd.readouterr().err) == [".mov"]
    assert encode(source, tmp_path / "out.mov", "--model", "none") == 0


def with_audio_tag(folder, tag):
    """A mov with two audio tracks, of which the second has another codec's name."""
    path = folder / "in.mov"
    ffmpeg(*PICTURES, *TONE, "-map", 0, "-map", 1, "-map", 1, "-c:a:0", "aac", "-c:a:1", "pcm_s16le", path)
    data = path.read_bytes()
    at = data.rindex(b"sowt")
    path.write_bytes(data[:at] + tag + data[at + 4 :])
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
def test_a_codec_that_ffmpeg_does_not_know(tmp_path, capfd, suffix):
    """As iPhones' spatial audio."""
    source, target = with_audio_tag(tmp_path, b"apac"), tmp_path / f"out{suffix}"
    assert encode(source, target, "--model", "none") == 2
    said = capfd.readouterr().err
    assert "FFmpeg does not know the codec of stream 2 (apac audio)" in said
    assert said.endswith("; leave it out with --map -0:2.\n")
    assert encode(source, target, "--model", "none", "--map", "-0:2") == 0
    assert [kind for kind, _ in streams(target)] == ["video", "audio"]


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv", ".ts"])
def test_data_that_ffmpeg_does_not_know(tmp_path, capfd, suffix):
    """As iPhones' timed metadata."""
    source = with_second_stream(tmp_path / "made.mp4", "bin_data", [(0, b"data"), (100, b"more")])
    data, source = source.read_bytes(), tmp_path / "in.mov"
    assert b"gpmd" in data
    source.write_bytes(data.replace(b"gpmd", b"mebx"))
    assert encode(source, tmp_path / f"out{suffix}", "--model", "none") == 0
    said = capfd.readouterr().err
    assert "FFmpeg does not know the codec of stream 1 (mebx data), which is left out" in said
    assert "cannot be held by" not in said


def test_a_codec_without_a_decoder_is_copied(tmp_path, capfd):
    """AC-4, which FFmpeg knows by name only."""
    source, target = with_audio_tag(tmp_path, b"ac-4"), tmp_path / "out.mov"
    assert encode(source, target, "--model", "none") == 0
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert after.streams.audio[1].codec_context is None
        content = [b"".join(bytes(p) for p in file.demux(file.streams.audio[1])) for file in (before, after)]
    assert content[0] == content[1] != b""
    assert encode(source, tmp_path / "out.mkv", "--model", "none") == 2
    assert "FFmpeg cannot write stream 2 (ac4 audio)" in capfd.readouterr().err


def crc32_mpeg(data):
    """The checksum of a section of MPEG-2 (ISO/IEC 13818-1, annex A)."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
    return register.to_bytes(4, "big")


# Of ETSI EN 300 468, 6.2.43: teletext in German, of subtitles (2), magazine 8, page 88.
PAGE_888 = b"\x56\x05deu\x10\x88"


def with_teletext(path):
    """A transport stream with teletext each 40 ms, whose description says that its subtitles are on page 888."""
    plain = make_video(path.with_name("plain.mp4"), codec="libx264", frames=25)
    with av.open(str(plain)) as old, av.open(str(path), "w", container_options={"max_delay": "40000"}) as new:
        video = new.add_stream_from_template(old.streams.video[0])
        text = new.add_mux_stream("dvb_teletext")
        text.time_base, text.metadata["language"] = Fraction(1, 90000), "deu"
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            packet.stream = video
            new.mux(packet)
            # EN 300 472: EBU data, then units of 46 bytes, so that the packet fills two of the transport stream's.
            units = b"".join(bytes([2, 44, *((number + k) % 256 for k in range(unit, unit + 44))]) for unit in range(3))
            lines = av.Packet(b"\x10" + units)
            lines.stream, lines.time_base = text, text.time_base
            lines.pts = lines.dts = number * 3600
            new.mux(lines)
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 188):
        packet = data[at : at + 188]
        found = packet.find(b"\x56\x05deu")
        if found >= 0 and packet[5] == 2:
            packet[found : found + 7] = PAGE_888
            end = 8 + (int.from_bytes(packet[6:8], "big") & 0xFFF)
            packet[end - 4 : end] = crc32_mpeg(packet[5 : end - 4])
            data[at : at + 188] = packet
    path.write_bytes(data)
    return path


def test_teletext_from_one_transport_stream_to_another(tmp_path, capfd):
    source, target = with_teletext(tmp_path / "in.ts"), tmp_path / "out.ts"
    assert PAGE_888 in source.read_bytes()
    assert encode(source, target, "--model", "none") == 0
    assert "warning" not in capfd.readouterr().err
    assert streams(target) == [("video", None), ("subtitle", "deu")]
    before, after = packets(source, "subtitle"), packets(target, "subtitle")
    assert [data for _, data in before] == [data for _, data in after]
    moved = decoded(target)[0].time - decoded(source)[0].time
    assert len(before) >= 24
    assert max(abs(b - a - moved) for (a, _), (b, _) in zip(before, after, strict=True)) <= MS
    assert PAGE_888 in target.read_bytes()


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".m2ts"])
def test_teletext_elsewhere_is_named(tmp_path, capfd, suffix):
    source, target = with_teletext(tmp_path / "in.ts"), tmp_path / f"out{suffix}"
    assert encode(source, target, "--model", "none") == 0
    assert f"stream 1 (dvb_teletext subtitle) cannot be held by {suffix[1:]} files and is left out" in (
        capfd.readouterr().err
    )
    assert [kind for kind, _ in streams(target)] == ["video"]


def test_data_that_ffmpeg_cannot_write_where_it_is(tmp_path, capfd):
    """A transport stream holds any data, as this one shows."""
    source = with_second_stream(tmp_path / "in.ts", "scte_35", [(time, b"data") for time in (0, 100, 200)])
    assert encode(source, tmp_path / "out.ts", "--model", "none") == 0
    said = capfd.readouterr().err
    assert "stream 1 (bin_data data) cannot be written into ts files by FFmpeg and is left out" in said
    assert "cannot be held by" not in said


@pytest.mark.parametrize(
    "suffix,codec,kind", [(".ts", "smpte_2038", "data"), (".m2ts", "hdmv_text_subtitle", "subtitle")]
)
def test_what_transport_streams_hold_beside(tmp_path, capfd, suffix, codec, kind):
    """Ancillary data of studios, and text of Blu-rays."""
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    plain = make_video(tmp_path / "plain.mp4", codec="libx264", frames=15)
    mode = {"mpegts_m2ts_mode": str(int(suffix == ".m2ts"))}
    with av.open(str(plain)) as old, av.open(str(source), "w", format="mpegts", container_options=mode) as new:
        video, track = new.add_stream_from_template(old.streams.video[0]), new.add_mux_stream(codec)
        track.time_base = MS
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            packet.stream = video
            new.mux(packet)
            data = av.Packet(bytes(range(number, number + 40)))
            data.stream, data.time_base = track, MS
            data.pts = data.dts = number * 40
            new.mux(data)
    assert encode(source, target, "--model", "none") == 0
    assert "warning" not in capfd.readouterr().err
    before, after = packets(source, kind), packets(target, kind)
    assert [data for _, data in before] == [data for _, data in after] != []
    moved = decoded(target)[0].time - decoded(source)[0].time
    assert max(abs(b - a - moved) for (a, _), (b, _) in zip(before, after, strict=True)) <= MS
