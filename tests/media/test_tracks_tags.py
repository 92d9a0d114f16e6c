"""What made a file is written into it, without anything of the user's machine, and the same file each time."""

import hashlib

import av
import pytest
from making import encode, make_network, make_video
from sources import ALL, PICTURES, SOUND, ffmpeg, for_suffix, global_tags

import scene
from scene.video.container.tags import container_language


def made_with(path):
    """The tag, by the guide's way to read it: MPEG-TS has it as the name of the programme's provider."""
    if path.suffix in {".ts", ".m2ts"}:
        data = path.read_bytes()
        start = data.index(b"scene 0")
        return data[start : start + data[start - 1]].decode()
    tags = global_tags(path)
    return tags["scene"] if path.suffix in {".mkv", ".webm"} else tags["comment"].split("\n")[-1]


@pytest.mark.parametrize("suffix", ALL)
def test_the_tag_is_always_there(tmp_path, suffix):
    source = make_video(tmp_path / "in.mkv", frames=3)
    target = tmp_path / f"out{suffix}"
    network = make_network(tmp_path / "secret.safetensors")
    codec = ("--codec", "svtav1", "--preset", "12") if suffix == ".webm" else ("--codec", "x264", "--preset", "fast")
    assert encode(source, target, *codec, "--crf", "30.5", "--model", network, "--strength", "0.5") == 0
    tag = made_with(target)
    start, model, rest = tag.split("; ", 2)
    assert start == f"scene {scene.__version__}"
    assert model.startswith("model custom@") and len(model) == len("model custom@") + 12
    wanted = "svtav1; crf 30.5; preset 12" if suffix == ".webm" else "x264; crf 30.5; preset fast"
    assert rest == f"strength 0.5; codec {wanted}"


def test_a_shipped_network_has_its_name_and_hash(tmp_path):
    source = make_video(tmp_path / "in.mkv", size=(16, 16), frames=1)
    assert encode(source, tmp_path / "out.mkv", "--model", "asconvsr", "--deinterlace") == 0
    tag = made_with(tmp_path / "out.mkv")
    assert "; model asconvsr@" in tag
    assert tag.endswith("; strength 1; codec x264; crf 23; preset medium; deinterlace")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_sources_comment_stays_and_an_older_tag_is_replaced(tmp_path, suffix):
    source, first, second = tmp_path / "in.mkv", tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    ffmpeg(*PICTURES, "-c:v", "ffv1", "-metadata", "comment=Two\nlines", source)
    assert encode(source, first, "--model", "none", "--crf", "20") == 0
    for target in (second, tmp_path / "c.mp4", tmp_path / "d.mkv"):
        assert encode(first, target, "--model", "none", "--crf", "40") == 0
        comment = global_tags(target)["comment"]
        assert comment.startswith("Two\nlines")
        assert (comment + str(global_tags(target).get("scene"))).count("codec x264") == 1
        assert "crf 40" in made_with(target)


def test_names_of_files_are_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = make_video(tmp_path / "in.mkv", frames=3)
    target = tmp_path / "out.mkv"
    (tmp_path / "private.txt").write_text("# flat\n")
    assert encode(source, target, "--model", "none", "--encoder-args", "keyint=7:cqmfile=private.txt") == 0
    assert made_with(target).endswith("; encoder-args keyint=7:cqmfile=...")
    for name in (b"private", b"in.mkv", b"out.mkv", str(tmp_path).encode()):
        assert name not in target.read_bytes()


@pytest.mark.parametrize(
    "suffix,codec",
    [(s, c) for s in ALL for c in ("x264", "x265") if s != ".webm"]
    + [(s, "svtav1") for s in (".mp4", ".mkv", ".webm")],
)
def test_the_same_bytes_each_time(tmp_path, suffix, codec):
    marks, font, source = tmp_path / "marks", tmp_path / "a.ttf", tmp_path / "in.mkv"
    marks.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=One\n")
    font.write_bytes(b"font")
    audio = "libopus" if suffix == ".webm" else "aac"
    attached = ("-attach", font, "-metadata:s:t", "mimetype=font/ttf", "-map_chapters", "2")
    pictures = ("-f", "lavfi", "-i", "testsrc2=s=136x64:d=1,noise=alls=9")
    ffmpeg(*pictures, *SOUND, "-i", marks, "-c:v", "libx264", "-c:a", audio, *attached, source)
    hashes = set()
    for name in ("a", "b"):
        target = tmp_path / f"{name}{suffix}"
        preset = "12" if codec == "svtav1" else "medium"
        assert encode(source, target, "--codec", codec, "--preset", preset, "--model", "none") == 0
        hashes.add(hashlib.sha256(target.read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize(
    "language,muxer,written",
    [
        *((code, "matroska", code) for code in ("de", "deu", "pt-BR", "cmn")),
        *(("de", "mp4", "ger"), ("deu", "mp4", "deu"), ("pt-BR", "mp4", "por"), ("cmn", "mpegts", "cmn")),
        *(("deu", "mov", "ger"), ("zho", "mov", "chi"), ("ces", "mov", "ces"), ("cze", "mov", "ces")),
        *(("cmn", "mov", None), ("x-own", "mp4", None), ("english", "mp4", None), ("??", "mp4", None)),
    ],
)
def test_languages(language, muxer, written):
    assert container_language(language, muxer) == written


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("language", ["deu", "en", "pt-BR", "cmn"])
def test_languages_of_tracks(tmp_path, capfd, language, suffix):
    source, target = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    ffmpeg(*PICTURES, *SOUND, "-c:v", "ffv1", "-c:a", "libmp3lame", "-metadata:s:a", f"language={language}", source)
    if suffix == ".webm":
        ffmpeg(*PICTURES, *SOUND, "-c:v", "ffv1", "-c:a", "libopus", "-metadata:s:a", f"language={language}", source)
    muxer = {".mkv": "matroska", ".webm": "webm", ".mov": "mov"}.get(suffix, "mp4")
    assert encode(source, target, *for_suffix(suffix)) == 0
    said = capfd.readouterr().err
    with av.open(str(target)) as file:
        found = file.streams.audio[0].metadata.get("language", "und")
    assert found == (container_language(language, muxer) or "und")
    # Another code for the same is no loss.
    assert (f"language {language}" in said) == (found == "und" or ("-" in language and found != language))


@pytest.mark.parametrize("suffix", ALL)
def test_titles_of_tracks(tmp_path, capfd, suffix):
    title = ("-metadata:s:a", "title=The director", "-metadata:s:a", "mood=calm")
    source, between, target = tmp_path / "in.mkv", tmp_path / "between.mp4", tmp_path / f"out{suffix}"
    ffmpeg(*PICTURES, *SOUND, "-c:v", "ffv1", "-c:a", "libopus" if suffix == ".webm" else "aac", *title, source)
    for origin in (source, between):
        assert encode(source, between, "--model", "none", "-y") == 0
        capfd.readouterr()
        if suffix == ".mov" and origin is between:
            continue
        assert encode(origin, target, "-y", *for_suffix(suffix)) == 0
        said = capfd.readouterr().err
        with av.open(str(target)) as file:
            tags = {key.lower(): value for key, value in file.streams.audio[0].metadata.items()}
        if suffix in {".ts", ".m2ts"}:
            assert "title 'The director'" in said
            continue
        assert tags["title" if suffix in {".mkv", ".webm"} else "name"] == "The director"
        if origin is source:
            assert ("mood" in tags) == (suffix in {".mkv", ".webm"}) == ("MOOD" not in said)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_phones_place_is_kept_without_a_word(tmp_path, capfd, suffix):
    """FFmpeg reads it twice, once with its language."""
    source, target = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    place = ("-metadata", "location=+48.1000-011.5000/", "-metadata", "creation_time=2024-05-01T10:00:00Z")
    ffmpeg(*PICTURES, *SOUND, "-c:v", "libx264", "-c:a", "aac", *place, source)
    assert "location-eng" in global_tags(source)
    assert encode(source, target, "--model", "none") == 0
    assert "warning" not in capfd.readouterr().err
    assert global_tags(target)["location"] == "+48.1000-011.5000/"


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_the_program_that_wrote_an_avi_is_not_missed(tmp_path, capfd, suffix):
    source, target = tmp_path / "in.avi", tmp_path / f"out{suffix}"
    ffmpeg(*PICTURES, *SOUND, "-c:v", "mpeg4", "-c:a", "libmp3lame", source)
    assert encode(source, target, "--model", "none") == 0
    assert "warning" not in capfd.readouterr().err


# What phones write into mov and mp4, as pairs of a key and a value.
PHONE = {
    "com.apple.quicktime.make": "Example",
    "com.apple.quicktime.creationdate": "2024-05-01T12:00:00+0200",
    "com.apple.quicktime.location.ISO6709": "+48.1000-011.5000+500.000/",
    "com.android.version": "14",
}


def from_a_phone(path, *inputs, **tags):
    words = [word for key, value in (PHONE | tags).items() for word in ("-metadata", f"{key}={value}")]
    pairs = ("-movflags", "use_metadata_tags")
    ffmpeg(*PICTURES, *SOUND, *inputs, "-c:v", "libx264", "-c:a", "aac", *words, *pairs, path)
    return path


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
@pytest.mark.parametrize("source_suffix", [".mov", ".mp4"])
def test_a_phones_tags_are_kept(tmp_path, capfd, source_suffix, suffix):
    marks = tmp_path / "marks"
    marks.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=One\n")
    also = {"title": "A clip", "comment": "Mine", "creation_time": "2024-05-01T10:00:00Z", "location": "+48.1-011.5/"}
    source = from_a_phone(tmp_path / f"in{source_suffix}", "-i", marks, **also)
    before = tmp_path / f"out{suffix}"
    assert encode(source, before, "--model", "none") == 0
    targets = [before]
    if suffix == ".mkv":
        # Matroska's muxer puts keys in capitals.
        assert encode(before, tmp_path / "again.mov", "--model", "none") == 0
        targets.append(tmp_path / "again.mov")
    assert "warning" not in capfd.readouterr().err
    for target in targets:
        with av.open(str(target)) as file:
            tags, chapters = dict(file.metadata), file.chapters()
        if target.suffix == ".mkv":
            tags = {key.lower(): value for key, value in tags.items()}
        for key, value in PHONE.items():
            assert tags[key.lower() if target.suffix == ".mkv" else key] == value
        assert (tags["title"], tags["comment"].split("\n")[0]) == ("A clip", "Mine")
        assert tags["creation_time"].startswith("2024-05-01T10:00:00")
        assert tags["location"].startswith("+48.1")
        assert [chapter["metadata"]["title"] for chapter in chapters] == ["One"]
        assert "; model none; " in made_with(target)


def test_other_tags_beside_a_phones(tmp_path, capfd):
    """Pairs have room for all."""
    source, target = from_a_phone(tmp_path / "in.mov", mood="calm"), tmp_path / "out.mp4"
    assert encode(source, target, "--model", "none") == 0
    assert "warning" not in capfd.readouterr().err
    assert global_tags(target)["mood"] == "calm"


@pytest.mark.parametrize("suffix,kept", [(".mp4", "cover"), (".mov", "tags")])
def test_a_cover_beside_a_phones_tags(tmp_path, capfd, suffix, kept):
    """FFmpeg's muxer of mp4 writes one or the other, and that of mov has no covers."""
    picture, source, target = tmp_path / "a.png", tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=16x16", "-frames:v", 1, picture)
    tags = ("-metadata", "com.apple.quicktime.make=Example", "-metadata", "title=A clip")
    ffmpeg(*PICTURES, "-c:v", "libx264", "-attach", picture, "-metadata:s:t", "mimetype=image/png", *tags, source)
    assert encode(source, target, "--model", "none") == 0
    said = capfd.readouterr().err
    with av.open(str(target)) as file:
        assert (len(file.streams.video) == 2) == (kept == "cover")
        assert (file.metadata.get("com.apple.quicktime.make") == "Example") == (kept == "tags")
        assert file.metadata["title"] == "A clip"
    assert ("its tags com.apple.quicktime.make cannot be written beside a cover by FFmpeg" in said) == (kept == "cover")
    assert ("is left out" in said) == (kept == "tags")
