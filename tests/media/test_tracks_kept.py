"""The table of the guide: what each container keeps of a source, each cell with a file."""

import struct
from fractions import Fraction

import av
import pytest
from making import MS, decoded, encode, make_video, packets, textured
from sources import (
    ALL,
    PICTURES,
    SOUND,
    contents,
    ffmpeg,
    for_suffix,
    global_tags,
    picture_subtitles,
    streams,
    with_second_stream,
)

from scene.video.source.probe import probe

NAMED = "cannot be held by"


def holds(suffix, codec):
    """Whether a container takes video of an encoder."""
    return suffix not in {".mov", ".ts", ".m2ts"} if codec == "svtav1" else suffix != ".webm"


# Feature by feature: the containers that keep it. All others must name the loss in a warning, or refuse it.
AUDIO = {
    "aac": {".mp4", ".mov", ".mkv", ".ts", ".m2ts"},
    "ac3": {".mp4", ".mov", ".mkv", ".ts", ".m2ts"},
    "libmp3lame": {".mp4", ".mov", ".mkv", ".ts", ".m2ts"},
    "alac": {".mp4", ".mov", ".mkv"},
    "flac": {".mp4", ".mkv"},
    "pcm_s16le": {".mp4", ".mov", ".mkv"},
    "libopus": {".mp4", ".mkv", ".webm", ".ts", ".m2ts"},
    "libvorbis": {".mp4", ".mkv", ".webm"},
}


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("codec", AUDIO)
def test_audio_bit_for_bit(tmp_path, capfd, codec, suffix):
    source, target = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    ffmpeg(*PICTURES, *SOUND, "-c:v", "ffv1", "-c:a", codec, source)
    code = encode(source, target, *for_suffix(suffix))
    if suffix not in AUDIO[codec]:
        assert code == 2
        assert "cannot hold stream 1" in capfd.readouterr().err
        assert not target.exists()
        return
    assert code == 0
    assert "warning" not in capfd.readouterr().err
    before, after = packets(source, "audio"), packets(target, "audio")
    join = without_adts if codec == "aac" else b"".join
    assert join(data for _, data in before) == join(data for _, data in after)
    if not codec.startswith("pcm"):
        # Only transport streams move all tracks, by as much as the video.
        moved = decoded(target)[0].time - decoded(source)[0].time
        assert max(abs(a - b + moved) for (a, _), (b, _) in zip(before, after, strict=True)) <= 2 * MS


def without_adts(frames):
    return b"".join(data[7:] if data[:2] in {b"\xff\xf1", b"\xff\xf9"} else data for data in frames)


# What the text becomes where it is kept.
SUBTITLES = {
    "subrip": {".mkv": b"Hello <i>you</i>", ".mp4": b"\0\x09Hello you", ".mov": b"\0\x09Hello you"}
    | {".webm": b"Hello you"},
    "webvtt": {".mkv": b"Hello <i>you</i>", ".mp4": b"\0\x09Hello you", ".mov": b"\0\x09Hello you"}
    | {".webm": b"Hello <i>you</i>"},
    "ass": {".mkv": b"0,0,Default,,0,0,0,,Hello {\\i1}you{\\i0}", ".mp4": b"\0\x09Hello you"}
    | {".mov": b"\0\x09Hello you", ".webm": b"Hello you"},
}


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("codec", SUBTITLES)
def test_subtitles(tmp_path, capfd, codec, suffix):
    text, source, target = tmp_path / "in.srt", tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    text.write_text("1\n00:00:00,100 --> 00:00:00,300\nHello <i>you</i>\n")
    ffmpeg(*PICTURES, "-i", text, "-c:v", "ffv1", "-c:s", codec, "-metadata:s:s", "language=fin", source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    if suffix not in SUBTITLES[codec]:
        assert f"stream 1 ({codec} subtitle) {NAMED}" in said
        assert [kind for kind, _ in streams(target)] == ["video"]
        return
    assert contents(target, "subtitle") == [SUBTITLES[codec][suffix]]
    assert ("is converted" in said) == (SUBTITLES[codec][suffix] != contents(source, "subtitle")[0])
    assert streams(target)[1] == ("subtitle", "fin")
    with av.open(str(target)) as file:
        (words,) = [p for p in file.demux(subtitles=0) if p.size and bytes(p) != b"\0\0"]
        assert (words.pts * words.time_base, words.duration * words.time_base) == (Fraction(1, 10), Fraction(1, 5))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_subtitles_shown_for_no_time(tmp_path, suffix):
    text, source, target = tmp_path / "in.srt", tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    text.write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n\n2\n00:00:00,400 --> 00:00:00,400\nYou\n")
    ffmpeg(*PICTURES, "-i", text, "-c:v", "ffv1", "-c:s", "subrip", source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    assert [words[-3:] for words in contents(target, "subtitle")] == [b"llo", b"You"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("start,overlap", [(100, True), (299, True), (300, False)])
def test_subtitles_that_overlap_are_told_of_where_one_hides_the_other(tmp_path, capfd, start, overlap, suffix):
    text, source, target = tmp_path / "in.srt", tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    text.write_text(f"1\n00:00:00,100 --> 00:00:00,300\nOne\n\n2\n00:00:00,{start} --> 00:00:00,500\nTwo\n")
    ffmpeg(*PICTURES, "-i", text, "-c:v", "ffv1", "-c:s", "subrip", source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    assert [words[-3:] for words in contents(target, "subtitle")] == [b"One", b"Two"]
    conditioned = "stream 1 (subrip subtitle) has subtitles that overlap" in capfd.readouterr().err
    assert conditioned == (overlap and suffix != ".mkv")


PICTURE_SUBTITLES = {
    "hdmv_pgs_subtitle": ("copy", ".mkv", {".mkv", ".m2ts"}),
    "dvb_subtitle": ("dvbsub", ".ts", {".mkv", ".ts"}),
    "dvd_subtitle": ("dvdsub", ".mkv", {".mkv", ".mp4"}),
}


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("codec", PICTURE_SUBTITLES)
def test_subtitles_that_are_pictures(tmp_path, capfd, codec, suffix):
    encoder, source_suffix, keeping = PICTURE_SUBTITLES[codec]
    shown = picture_subtitles(tmp_path / "in.sup", [(0.1, 0.3), (0.4, 0.5)])
    source, target = tmp_path / f"in{source_suffix}", tmp_path / f"out{suffix}"
    ffmpeg(*PICTURES, "-i", shown, "-map", "0", "-map", "1", "-c:v", "libx264", "-c:s", encoder, source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    if suffix in keeping:
        assert "is left out" not in said
        assert contents(target, "subtitle") == contents(source, "subtitle")
    else:
        assert f"stream 1 ({codec} subtitle) {NAMED}" in said
        assert [kind for kind, _ in streams(target)] == ["video"]


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("source_suffix", [".mp4", ".mkv"])
def test_covers(tmp_path, capfd, source_suffix, suffix):
    picture, source, target = tmp_path / "cover.jpg", tmp_path / f"in{source_suffix}", tmp_path / f"out{suffix}"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:d=0.04", picture)
    if source_suffix == ".mkv":
        ffmpeg(*PICTURES, "-c:v", "libx264", "-attach", picture, "-metadata:s:t", "mimetype=image/jpeg", source)
    else:
        both = ("-map", "0", "-map", "1", "-c:v:0", "libx264", "-c:v:1", "copy", "-disposition:v:1", "attached_pic")
        ffmpeg(*PICTURES, "-i", picture, *both, source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    with av.open(str(target)) as file:
        covers = [s.index for s in file.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        assert len(file.streams.video) == 1 + len(covers)
    if suffix in {".mp4", ".mkv"}:
        assert "warning" not in said
        assert contents(target, "video", covers[0]) == [picture.read_bytes()]
    else:
        assert f"stream 1 (mjpeg video) {NAMED}" in said
        assert covers == []


@pytest.mark.parametrize("suffix", ALL)
def test_attached_files(tmp_path, capfd, suffix):
    font, source, target = tmp_path / "a.ttf", tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    font.write_bytes(b"font" * 99)
    ffmpeg(*PICTURES, "-c:v", "ffv1", "-attach", font, "-metadata:s:t", "mimetype=application/x-truetype-font", source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    with av.open(str(target)) as file:
        kept = [(s.name, s.mimetype, s.data) for s in file.streams.attachments]
    if suffix == ".mkv":
        assert kept == [("a.ttf", "application/x-truetype-font", b"font" * 99)]
    else:
        assert kept == []
        assert f"stream 1 (a.ttf attachment) {NAMED}" in said


@pytest.mark.parametrize("suffix", ALL)
def test_chapters(tmp_path, capfd, suffix):
    marks, source, target = tmp_path / "marks", tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    marks.write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=600\ntitle=D\u011bvka\n"
    )
    ffmpeg(*PICTURES, "-i", marks, "-map_chapters", "1", "-c:v", "libx264", source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    with av.open(str(target)) as file:
        found = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"]) for c in file.chapters()
        ]
    if suffix in {".ts", ".m2ts"}:
        assert "its chapters cannot be held" in said
    else:
        assert found == [(0, Fraction(1, 5), "One"), (Fraction(1, 5), Fraction(3, 5), "D\u011bvka")]
        assert "warning" not in said


CODECS = [(suffix, codec) for suffix in ALL for codec in ("x264", "x265", "svtav1") if holds(suffix, codec)]
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


@pytest.mark.parametrize("suffix,codec", CODECS)
def test_how_pictures_are_coded(tmp_path, capfd, suffix, codec):
    """HDR10 with variable frame rate: ten bits, colour, chroma location, metadata, time stamps."""
    params = f"log-level=none:hdr10=1:repeat-headers=1:master-display={DISPLAY}:max-cll=1000,400:chromaloc=2"
    stamps = [0, 33, 40, 140, 141, 500, 533, 900]
    source = make_video(
        tmp_path / "in.mkv",
        codec="libx265",
        pix_fmt="yuv420p10le",
        stamps=stamps,
        colour=(9, 16, 9, 1),
        options={"preset": "ultrafast", "x265-params": params, "chroma_sample_location": "topleft"},
    )
    target = tmp_path / f"out{suffix}"
    preset = "12" if codec == "svtav1" else "ultrafast"
    assert encode(source, target, "--codec", codec, "--preset", preset, "--model", "none", "--verify", "full") == 0
    # Titles are another matter, of `test_titles_of_tracks`.
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning" in line and "title" not in line]
    assert warnings == []
    a, b = probe(source), probe(target)
    assert (a.pixel_format, a.colour, a.chroma_location) == (b.pixel_format, b.colour, b.chroma_location)
    assert a.chroma_location == "topleft"
    assert a.hdr.content_light == b.hdr.content_light == (1000, 400)
    for field in ("red", "green", "blue", "white"):
        assert getattr(b.hdr.mastering, field) == pytest.approx(getattr(a.hdr.mastering, field), abs=1e-4)
    assert b.hdr.mastering.max_luminance == pytest.approx(1000, rel=1e-3)
    found = [shown.time for shown in decoded(target)]
    assert [round(1000 * (time - found[0])) for time in found] == stamps
    assert found[0] == 0 or suffix in {".ts", ".m2ts"}


# An iPhone's upright video, whose matrix also moves the picture back into view.
PORTRAIT = (0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30)
DOWN = (-65536, 0, 0, 0, -65536, 0, 64 << 16, 48 << 16, 1 << 30)
OTHER_PORTRAIT = (0, -65536, 0, 65536, 0, 0, 0, 64 << 16, 1 << 30)
MIRRORED = (-65536, 0, 0, 0, 65536, 0, 64 << 16, 0, 1 << 30)


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("matrix", [PORTRAIT, DOWN, OTHER_PORTRAIT, MIRRORED])
def test_rotation(tmp_path, capfd, matrix, suffix):
    source, target = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        stream.set_display_matrix(matrix)
        for index in range(3):
            frame = av.VideoFrame(64, 48, "yuv420p")
            textured(frame, index)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    found = probe(target).display_matrix
    if suffix in {".ts", ".m2ts"}:
        assert "its rotation cannot be held" in said
        assert found is None
    else:
        assert "warning" not in said
        assert (found[:2], found[3:5]) == (matrix[:2], matrix[3:5])
        assert suffix not in {".mp4", ".mov"} or found == struct.unpack("=9i", struct.pack("=9i", *matrix))


@pytest.mark.parametrize("suffix", ALL)
def test_sample_aspect_ratio(tmp_path, capfd, suffix):
    source, target = make_video(tmp_path / "in.mkv", codec="libx264", sar=Fraction(4, 3)), tmp_path / f"out{suffix}"
    assert encode(source, target, *for_suffix(suffix)) == 0
    assert probe(target).sample_aspect_ratio == (Fraction(85, 64) if suffix == ".webm" else Fraction(4, 3))


@pytest.mark.parametrize("suffix", ALL)
def test_time_codes(tmp_path, capfd, suffix):
    source, target = tmp_path / "in.mov", tmp_path / f"out{suffix}"
    ffmpeg(*PICTURES, "-c:v", "libx264", "-timecode", "01:02:03:04", source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    with av.open(str(target)) as file:
        tags = {key.lower(): value for key, value in file.streams.video[0].metadata.items()}
    if suffix in {".ts", ".m2ts"}:
        assert "its tag timecode" in said
    else:
        assert tags["timecode"] == "01:02:03:04"
        assert "warning" not in said


DATA = {
    "klv": (".ts", {".ts"}),
    "timed_id3": (".ts", {".ts"}),
    "bin_data": (".mp4", {".mp4", ".mov"}),  # as GoPro's telemetry
}


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("kind", DATA)
def test_data(tmp_path, capfd, kind, suffix):
    source_suffix, keeping = DATA[kind]
    tag = b"ID3\4\0\0\0\0\0\x10TIT2\0\0\0\6\0\0\3" if kind == "timed_id3" else b"\6\x0e\x2b\x34"
    content = [(100 * i, tag + bytes([i]) * 5) for i in range(5)]
    source = with_second_stream(tmp_path / f"in{source_suffix}", kind, content)
    target = tmp_path / f"out{suffix}"
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    if suffix in keeping:
        assert contents(target, "data") == [data for _, data in content]
        assert "warning" not in said
    else:
        assert f"stream 1 ({kind} data) {NAMED}" in said
        assert [k for k, _ in streams(target)] == ["video"]


@pytest.mark.parametrize("suffix", ALL)
def test_global_tags(tmp_path, capfd, suffix):
    tags = {"title": "A clip", "artist": "Somebody", "comment": "My own words", "shot_with": "a lens"}
    tags |= {"date": "2026", "genre": "Nature", "album": "Ponds"}
    source, target = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    ffmpeg(*PICTURES, "-c:v", "ffv1", *(f for k, v in tags.items() for f in ("-metadata", f"{k}={v}")), source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    found = global_tags(target)
    kept = {".mkv": set(tags), ".webm": set(tags), ".ts": set(), ".m2ts": set()}.get(suffix, set(tags) - {"shot_with"})
    for key, value in tags.items():
        assert (found.get(key, "").split("\n")[0] == value) == (key in kept)
        assert (key in said.lower().split("cannot hold its tags")[-1]) == (key not in kept)


FLAGS = {
    "default": {".mp4", ".mov", ".mkv", ".webm"},
    "forced": {".mp4", ".mkv", ".webm"},
    "comment": {".mp4", ".mkv"},
    "dub": {".mp4", ".mkv"},
    "original": {".mkv"},
    "hearing_impaired": {".mp4", ".mkv", ".ts", ".m2ts"},
    "visual_impaired": {".mp4", ".mkv", ".ts", ".m2ts"},
}


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("flag", FLAGS)
def test_dispositions(tmp_path, capfd, flag, suffix):
    source, target = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    audio = "libopus" if suffix == ".webm" else "aac"
    ffmpeg(*PICTURES, *SOUND, "-c:v", "ffv1", "-c:a", audio, "-disposition:a:0", flag, source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    with av.open(str(target)) as file:
        found = av.stream.Disposition[flag] in file.streams.audio[0].disposition
    assert found == (suffix in FLAGS[flag])
    # There is a first track wherever there is no default one.
    assert (f"disposition {flag}" in said) == (suffix not in FLAGS[flag] and flag != "default")


@pytest.mark.parametrize("codec,kept", [("x264", True), ("x265", False)])
def test_stereoscopic_pictures(tmp_path, capfd, codec, kept):
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    ffmpeg(*PICTURES, "-c:v", "libx264", "-x264-params", "frame-packing=3", source)
    assert probe(source).projections == ("stereoscopic",)
    assert encode(source, target, "--codec", codec, "--preset", "ultrafast", "--model", "none") == 0
    assert (probe(target).projections == ("stereoscopic",)) == kept
    assert ("its picture is stereoscopic is not carried over" in capfd.readouterr().err) != kept


def test_transparency_is_lost_with_its_tag(tmp_path, capfd):
    source, target = tmp_path / "in.webm", tmp_path / "out.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.2,format=yuva420p", "-c:v", "libvpx-vp9", source)
    assert encode(source, target, "--model", "none") == 0
    assert "its transparency (alpha) is not carried over" in capfd.readouterr().err
    with av.open(str(target)) as file:
        assert "alpha_mode" not in {key.lower() for key in file.streams.video[0].metadata}
