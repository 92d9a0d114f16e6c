"""`--map` and `--no-audio`: which streams are taken over, and which video is enhanced."""

import av
import pytest
from making import decoded, encode
from sources import ffmpeg, streams

from scene.errors import UsageError
from scene.video.container.select import parse_map


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two videos (64x48 and 32x32), three audio tracks, subtitles and an attached file."""
    folder = tmp_path_factory.mktemp("map")
    text, font = folder / "in.srt", folder / "a.ttf"
    text.write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n")
    font.write_bytes(b"font")
    inputs = ["testsrc2=s=64x48:d=0.4", "sine=d=0.4", "testsrc2=s=32x32:d=0.4", "sine=f=900:d=0.4", "sine=f=99:d=0.4"]
    tags = {"a:0": "eng", "a:1": "ces", "s:0": "eng"}
    ffmpeg(
        *(word for graph in inputs for word in ("-f", "lavfi", "-i", graph)),
        *("-i", text, *(word for index in range(6) for word in ("-map", index))),
        *("-c:v", "libx264", "-c:a", "libopus", "-attach", font, "-metadata:s:t", "mimetype=font/ttf"),
        *(word for stream, language in tags.items() for word in (f"-metadata:s:{stream}", f"language={language}")),
        folder / "in.mkv",
    )
    return folder / "in.mkv"


EVERYTHING = ["video", "audio eng", "video", "audio ces", "audio", "subtitle eng", "attachment"]


@pytest.mark.parametrize(
    "options,kept",
    [
        ([], EVERYTHING),
        (["--map", "all"], EVERYTHING),
        (["--map", "0"], EVERYTHING),
        (["--no-audio"], ["video", "video", "subtitle eng", "attachment"]),
        (["--map", "v"], ["video", "video"]),
        (["--map", "v:0", "--map", "a:1"], ["video", "audio ces"]),
        (["--map", "0:v:0", "--map", "0:a:1"], ["video", "audio ces"]),
        (["--map", "v:0", "--map", "0:4"], ["video", "audio"]),
        (["--map", "0:0"], ["video"]),
        (["--map", "0:0", "--map", "0:1"], ["video", "audio eng"]),
        (["--map", "all", "--map", "-0:0"], EVERYTHING[1:]),
        (["--map", "v:0", "--map", "m:language:eng"], ["video", "audio eng", "subtitle eng"]),
        (["--map", "v:0", "--map", "a:m:language:ENG"], ["video", "audio eng"]),
        (["--map", "v:0", "--map", "s", "--map", "t"], ["video", "subtitle eng", "attachment"]),
        (["--map", "-a"], ["video", "video", "subtitle eng", "attachment"]),
        (["--map", "-0:a:1", "--map", "-t"], ["video", "audio eng", "video", "audio", "subtitle eng"]),
        (["--map", "all", "--map", "-s", "--map=-v:1"], ["video", "audio eng", "audio ces", "audio", "attachment"]),
        (["--map", "v:0", "--map", "d?", "--map", "a:7?"], ["video"]),
        (["--map", "v:0", "--map", "a", "--no-audio"], ["video"]),
        (["--map", "a:0", "--map", "v:0"], ["video", "audio eng"]),
    ],
)
def test_what_is_taken_over(source, tmp_path, options, kept):
    target = tmp_path / "out.mkv"
    assert encode(source, target, "--model", "none", *options) == 0
    assert [kind + (f" {language}" if language else "") for kind, language in streams(target)] == kept


@pytest.mark.parametrize(
    "options,enhanced,copied",
    [
        ([], (64, 48), (32, 32)),
        (["--map", "v"], (64, 48), (32, 32)),
        (["--map", "v:1"], (32, 32), None),
        (["--map", "v:1", "--map", "v:0"], (32, 32), (64, 48)),
        (["--map", "-v:0"], (32, 32), None),
    ],
)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_the_first_video_that_is_named_is_enhanced(source, tmp_path, options, enhanced, copied, suffix):
    """The others are copied: only the enhanced one is coded in HEVC."""
    target = tmp_path / f"out{suffix}"
    quick = ("--codec", "x265", "--preset", "ultrafast", "--model", "none", "--map", "-s?", "--map", "-t?")
    maps = options or ["--map", "all"]
    assert encode(source, target, *maps, *quick, "--verify", "full") == 0
    with av.open(str(target)) as file:
        found = {s.codec_context.name: (s.codec_context.width, s.codec_context.height) for s in file.streams.video}
    assert found == {"hevc": enhanced} | ({"h264": copied} if copied else {})


@pytest.mark.parametrize(
    "text", ["x", "a:", "a:x", "3", "1:a", "a:1:m:language:eng", "m:language:", "p:0", "-", "v:-1", "a:1??"]
)
def test_what_is_not_understood(source, tmp_path, capfd, text):
    assert encode(source, tmp_path / "out.mkv", "--model", "none", f"--map={text}") == 2
    assert "is not understood" in capfd.readouterr().err
    with pytest.raises(UsageError):
        parse_map(text)


def test_an_empty_map_is_refused(source, tmp_path, capfd):
    assert encode(source, tmp_path / "out.mkv", "--model", "none", "--map=") == 2
    assert "--map is empty" in capfd.readouterr().err
    with pytest.raises(UsageError):
        parse_map("")


@pytest.mark.parametrize("text", ["d", "a:3", "0:99", "m:language:fin", "-d"])
def test_a_map_without_a_match_names_what_there_is(source, tmp_path, capfd, text):
    assert encode(source, tmp_path / "out.mkv", "--model", "none", "--map", text) == 2
    said = capfd.readouterr().err
    assert f"--map {text} matches no stream" in said
    assert "which has 0:0 v:0 h264, 0:1 a:0 opus (eng), 0:2 v:1 h264, 0:3 a:1 opus (ces), 0:4 a:2 opus, 0:5 s:0" in said
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("options", [["--map", "a"], ["--map", "-v"]])
def test_a_video_must_be_left(source, tmp_path, capfd, options):
    assert encode(source, tmp_path / "out.mkv", "--model", "none", *options) == 2
    assert "add --map v" in capfd.readouterr().err


def test_a_stream_that_does_not_fit_can_be_left_out(source, tmp_path, capfd):
    quick = ("--codec", "svtav1", "--preset", "12", "--model", "none")
    assert encode(source, tmp_path / "out.webm", *quick) == 2
    assert "leave it out with --map -0:2" in capfd.readouterr().err
    assert encode(source, tmp_path / "out.webm", *quick, "--map", "-0:2") == 0
    assert len(decoded(tmp_path / "out.webm")) == 10


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
def test_a_video_behind_its_audio(tmp_path, suffix):
    """What the encoder holds back at the end belongs to the second stream too."""
    source, target = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "sine=d=1",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x48:d=1",
        "-c:v",
        "libx264",
        "-map",
        "0",
        "-map",
        "1",
        source,
    )
    assert encode(source, target, "--model", "none", "--preset", "medium") == 0
    assert [kind for kind, _ in streams(target)] == ["audio", "video"]
    assert len(decoded(target)) == len(decoded(source)) == 25
