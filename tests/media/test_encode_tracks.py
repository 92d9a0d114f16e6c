"""What `scene encode` keeps beside the pictures: time stamps, other streams, chapters and tags."""

import struct
import zlib
from fractions import Fraction
from itertools import pairwise

import av
import pytest
from making import MS, assert_same_pictures, assert_same_times, decoded, encode, make_network, make_video, packets

from scene.video.source.probe import probe

FAST = {"x264": "ultrafast", "x265": "ultrafast", "svtav1": "12"}
TS = Fraction(1, 90000)
VFR = [0, 33, 40, 140, 141, 500, 533, 900]


@pytest.mark.parametrize("codec", FAST)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".webm"])
def test_variable_frame_rate(tmp_path, codec, suffix):
    source = make_video(tmp_path / "in.mkv", stamps=VFR)
    target = tmp_path / f"out{suffix}"
    code = encode(source, target, "--codec", codec, "--preset", FAST[codec], "--model", "none")
    if (suffix == ".webm" and codec != "svtav1") or (suffix == ".mov" and codec == "svtav1"):
        assert code == 2
        assert not target.exists()
        return
    assert code == 0
    assert_same_times(decoded(source), decoded(target), Fraction(1, 10**6))


@pytest.mark.parametrize("codec", FAST)
def test_a_clock_declared_as_frame_rate(tmp_path, codec):
    source = make_video(tmp_path / "in.mkv", stamps=VFR, rate=1000)
    assert encode(source, tmp_path / "out.mkv", "--codec", codec, "--preset", FAST[codec], "--model", "none") == 0
    assert_same_times(decoded(source), decoded(tmp_path / "out.mkv"), Fraction(0))


@pytest.mark.parametrize("start", [-2000, 500, 3_600_000])
def test_start_other_than_zero(tmp_path, start):
    stamps = [start + s for s in VFR]
    source = make_video(tmp_path / "in.nut", stamps=stamps)
    for suffix in (".mkv", ".mp4"):
        target = tmp_path / f"out{suffix}"
        assert encode(source, target, "--preset", "medium", "--model", "none") == 0
        assert_same_times(decoded(source), decoded(target))


def test_raw_h264_gets_time_stamps_from_its_frame_rate(tmp_path):
    source = make_video(tmp_path / "in.h264", codec="libx264", frames=10, options={"preset": "medium"})
    for suffix in (".mkv", ".mp4"):
        target = tmp_path / f"out{suffix}"
        assert encode(source, target, "--preset", "medium", "--model", "none") == 0
        assert [s.time for s in decoded(target)] == [Fraction(i, 25) for i in range(10)]


@pytest.mark.parametrize("source_suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_tracks_chapters_and_tags(tmp_path, source_suffix, suffix):
    source = make_video(
        tmp_path / f"in{source_suffix}",
        codec="libx264",
        frames=10,
        audio="aac",
        subtitles=True,
        chapters=True,
        sar=Fraction(4, 3),
        rotation=90,
        colour=(9, 14, 9, 1),
    )
    target = tmp_path / f"out{suffix}"
    weights = make_network(tmp_path / "net.safetensors")
    assert encode(source, target, "--preset", "medium", "--model", weights) == 0
    assert_same_times(decoded(source), decoded(target))
    before, after = packets(source, "audio"), packets(target, "audio")
    assert [data for _, data in before] == [data for _, data in after]
    assert max(abs(a - b) for (a, _), (b, _) in zip(before, after, strict=True)) <= MS
    a, b = probe(source), probe(target)
    assert (a.colour, a.sample_aspect_ratio, a.display_matrix) == (
        b.colour,
        b.sample_aspect_ratio,
        b.display_matrix,
    )
    with av.open(str(source)) as original, av.open(str(target)) as file:
        tags = {key.lower(): value for key, value in file.metadata.items()}
        assert tags["title"] == "A clip"
        assert "strength 1" in tags["scene" if suffix == ".mkv" else "comment"]
        assert file.streams.audio[0].metadata["language"] == "ces"
        (chapter,) = file.chapters()
        assert chapter["metadata"]["title"] == "Beginning"
        assert chapter["end"] * chapter["time_base"] == Fraction(1, 10)
        (words,) = file.streams.subtitles
        assert words.metadata["language"] == "fin"
        assert file.streams.audio[0].disposition == original.streams.audio[0].disposition
    shown = [(time, data) for time, data in packets(target, "subtitle") if data != bytes(2)]
    assert shown == [(Fraction(1, 25), b"hello" if suffix == ".mkv" else b"\x00\x05hello")]


def test_a_stream_that_does_not_fit_is_named(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", subtitles=True, frames=3)
    assert encode(source, tmp_path / "out.mp4", "--model", "none") == 0
    assert "stream 1 (subrip subtitle) is converted" in capfd.readouterr().err
    source = make_video(tmp_path / "sound.mkv", audio="aac", frames=3)
    assert encode(source, tmp_path / "sound.webm", "--codec", "svtav1", "--model", "none") == 2
    assert "stream 1 (aac audio)" in capfd.readouterr().err
    assert not (tmp_path / "sound.webm").exists()


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(8, 9), Fraction(64, 45)])
@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
def test_av1_keeps_the_sample_aspect_ratio(tmp_path, capfd, aspect, suffix):
    source = make_video(tmp_path / "in.mkv", codec="libx264", sar=aspect, frames=2, audio="libopus")
    target = tmp_path / f"out{suffix}"
    assert encode(source, target, "--codec", "svtav1", "--preset", "12", "--model", "none") == 0
    assert "warning" not in capfd.readouterr().err
    # Matroska has the size to show the picture in, in whole pixels, of 64 here.
    tolerance = Fraction(0) if suffix == ".mp4" else Fraction(1, 128)
    assert abs(probe(target).sample_aspect_ratio - aspect) <= tolerance
    assert len(decoded(target)) == 2
    if suffix == ".mkv":
        # The description of the tracks begins with a checksum of all that follows in it (RFC 8794).
        data = target.read_bytes()
        tracks = b"\x16\x54\xae\x6b"
        start = data.index(tracks, data.index(tracks) + 1) + 4  # the first one is an entry of the index
        size = 9 - data[start].bit_length()
        length = int.from_bytes(data[start : start + size], "big") - (1 << 7 * size)
        content = data[start + size : start + size + length]
        assert content[:2] == b"\xbf\x84"
        assert int.from_bytes(content[2:6], "little") == zlib.crc32(content[6:])


def test_av1_behind_its_audio_keeps_the_sample_aspect_ratio(tmp_path):
    picture = make_video(tmp_path / "picture.mkv", codec="libx264", sar=Fraction(2), frames=2, audio="libopus")
    source = tmp_path / "in.mkv"
    with av.open(str(picture)) as old, av.open(str(source), "w") as new:
        new.add_attachment("a.ttf", "font/ttf", b"font")
        copies = {s.index: new.add_stream_from_template(s, opaque=True) for s in reversed(old.streams)}
        for packet in old.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                new.mux(packet)
    for suffix in (".mkv", ".webm"):
        target = tmp_path / f"out{suffix}"
        assert encode(source, target, "--codec", "svtav1", "--preset", "12", "--model", "none") == 0
        assert probe(target).sample_aspect_ratio == 2


def test_attachments_are_kept(tmp_path):
    source = tmp_path / "in.mkv"
    plain = make_video(tmp_path / "plain.mkv", frames=3)
    with av.open(str(plain)) as old, av.open(str(source), "w") as new:
        video = new.add_stream_from_template(old.streams.video[0], opaque=True)
        new.add_attachment("a.ttf", "application/x-truetype-font", b"font")
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = video
                new.mux(packet)
    assert encode(source, tmp_path / "out.mkv", "--model", "none") == 0
    with av.open(str(tmp_path / "out.mkv")) as file:
        (attachment,) = file.streams.attachments
        assert (attachment.data, attachment.name) == (b"font", "a.ttf")


def test_audio_longer_than_video_is_kept_whole(tmp_path):
    source = make_video(tmp_path / "in.mkv", audio="flac", frames=1)
    assert encode(source, tmp_path / "out.mkv", "--model", "none") == 0
    assert len(decoded(tmp_path / "out.mkv")) == 1
    assert [d for _, d in packets(source, "audio")] == [d for _, d in packets(tmp_path / "out.mkv", "audio")]


@pytest.mark.parametrize("codec", FAST)
def test_hdr10_metadata(tmp_path, codec):
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    source = make_video(
        tmp_path / "in.mkv",
        codec="libx265",
        pix_fmt="yuv420p10le",
        frames=3,
        colour=(9, 16, 9, 1),
        options={
            "preset": "ultrafast",
            "x265-params": f"log-level=none:hdr10=1:repeat-headers=1:master-display={display}:max-cll=1000,400",
        },
    )
    for suffix in (".mkv", ".mp4"):
        target = tmp_path / f"out{suffix}"
        assert encode(source, target, "--codec", codec, "--preset", FAST[codec], "--model", "none") == 0
        a, b = probe(source), probe(target)
        assert a.hdr.content_light == b.hdr.content_light == (1000, 400)
        assert a.colour == b.colour
        assert a.pixel_format == b.pixel_format
        assert a.hdr.mastering.red == pytest.approx((0.68, 0.32), abs=1e-4)
        assert b.hdr.mastering.red == pytest.approx((0.68, 0.32), abs=1e-4)
        assert b.hdr.mastering.max_luminance == pytest.approx(1000, rel=1e-3)
        assert b.hdr.mastering.min_luminance == pytest.approx(0.005, abs=1e-4)


@pytest.mark.parametrize(
    "name", ["-x.mkv", "%03d.mkv", "concat:x.mkv", "http:x.mkv", "a;b $(id) 'q\".mkv", "line\nbreak.mkv"]
)
def test_any_name_is_a_file_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "plain.mkv", frames=2)
    (tmp_path / "plain.mkv").rename(name)
    assert encode("--model", "none", "--", name, "out " + name) == 0
    assert_same_times(decoded(tmp_path / name), decoded(tmp_path / ("out " + name)))


def test_encoder_args_reach_the_encoder(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=12)
    assert encode(source, tmp_path / "out.mkv", "--encoder-args", "keyint=3:qp=0", "--model", "none") == 0
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))
    with av.open(str(tmp_path / "out.mkv")) as file:
        keys = [p.is_keyframe for p in file.demux(video=0) if p.size]
    assert sum(keys) == 4


def test_display_matrix_is_the_sources_own(tmp_path):
    source = make_video(tmp_path / "in.mp4", codec="libx264", frames=2, rotation=-90)
    assert probe(source).display_matrix == struct.unpack("=9i", struct.pack("=9i", *probe(source).display_matrix))
    assert encode(source, tmp_path / "out.mp4", "--model", "none") == 0
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert next(file.decode(video=0)).rotation == -90


@pytest.mark.parametrize("codec", FAST)
@pytest.mark.parametrize("location", [None, "topleft"])
def test_chroma_location(tmp_path, codec, location):
    options = {"chroma_sample_location": location} if location else {}
    source = make_video(tmp_path / "in.mkv", codec="libx264", frames=2, options=options)
    target = tmp_path / "out.mkv"
    assert encode(source, target, "--codec", codec, "--preset", FAST[codec], "--model", "none") == 0
    assert probe(source).chroma_location == probe(target).chroma_location == location


def remuxed(source, target, shift=0):
    """The video packets of a file in another one, moved by `shift` ticks."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.pts += shift
                packet.dts += shift
                packet.stream = stream
                new.mux(packet)
    return target


def test_frames_that_an_edit_list_hides_stay_hidden(tmp_path):
    whole = make_video(tmp_path / "whole.mp4", codec="libx264", frames=20, options={"preset": "medium"})
    source = remuxed(whole, tmp_path / "in.mp4", shift=-200 * 16)
    assert len(decoded(source)) == 15
    for suffix in (".mkv", ".mp4"):
        assert encode(source, tmp_path / f"out{suffix}", "--model", "none") == 0
        assert_same_times(decoded(source), decoded(tmp_path / f"out{suffix}"))


def test_a_delayed_start_is_exact_in_mp4(tmp_path):
    source = make_video(tmp_path / "in.mp4", time_base=TS, codec="libx264", stamps=[2090, 5690])
    assert encode(source, tmp_path / "a.mp4", "--model", "none") == 0
    middle = decoded(tmp_path / "a.mp4")
    assert encode(tmp_path / "a.mp4", tmp_path / "b.mp4", "--model", "none") == 0
    assert [s.time for s in middle] == [s.time for s in decoded(tmp_path / "b.mp4")]


def test_avi_frames_come_in_steps(tmp_path):
    """AVI has no presentation times, and FFmpeg's for a stream with B-frames are out of order."""
    source = make_video(
        tmp_path / "in.avi", codec="libx264", time_base=Fraction(1, 25), frames=20, options={"preset": "medium"}
    )
    for suffix in (".mkv", ".mp4"):
        assert encode(source, tmp_path / f"out{suffix}", "--model", "none") == 0
        times = [s.time for s in decoded(tmp_path / f"out{suffix}")]
        assert len(times) == 20
        assert {b - a for a, b in pairwise(times)} == {Fraction(1, 25)}


def samples(path):
    with av.open(str(path)) as file:
        return sum(frame.samples for frame in file.decode(audio=0))


def test_transport_stream_with_audio(tmp_path):
    stamps = [140_000 + i * 3600 for i in range(8)]
    source = make_video(tmp_path / "in.ts", codec="libx264", time_base=TS, stamps=stamps, audio="aac")
    for suffix in (".mkv", ".mp4"):
        target = tmp_path / f"out{suffix}"
        assert encode(source, target, "--model", "none") == 0
        assert_same_times(decoded(source), decoded(target))
        assert samples(source) == samples(target)
        assert len(packets(source, "audio")) == len(packets(target, "audio"))


def test_only_the_first_video_is_encoded_and_a_cover_is_copied(tmp_path):
    plain = make_video(tmp_path / "plain.mp4", codec="libx264", frames=3)
    cover = make_video(tmp_path / "cover.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=1)
    source = tmp_path / "in.mp4"
    with av.open(str(plain)) as old, av.open(str(cover)) as art, av.open(str(source), "w") as new:
        video = new.add_stream_from_template(old.streams.video[0])
        picture = new.add_stream_from_template(art.streams.video[0], opaque=True)
        picture.disposition = av.stream.Disposition.attached_pic
        for file, stream in ((art, picture), (old, video)):
            for packet in file.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    new.mux(packet)
    assert encode(source, tmp_path / "out.mp4", "--model", "none") == 0
    assert len(decoded(tmp_path / "out.mp4")) == 3
    with av.open(str(tmp_path / "out.mp4")) as file:
        kinds = [
            (s.codec_context.name, bool(s.disposition & av.stream.Disposition.attached_pic)) for s in file.streams.video
        ]
    assert kinds == [("h264", False), ("mjpeg", True)]


@pytest.mark.parametrize("codec", FAST)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_videos(tmp_path, codec, frames):
    stamps = [1000, 1040, 1080][:frames]
    source = make_video(tmp_path / "in.mkv", stamps=stamps)
    for suffix in (".mkv", ".mp4"):
        target = tmp_path / f"out{suffix}"
        assert encode(source, target, "--codec", codec, "--preset", FAST[codec], "--model", "none") == 0
        with av.open(str(target)) as file:
            found = [p for p in file.demux(video=0) if p.size]
        assert sorted(p.pts * p.time_base * 1000 for p in found) == stamps
        # Matroska stores no decoding times.
        assert all(p.dts is None or p.pts - 1 / p.time_base < p.dts <= p.pts for p in found)
