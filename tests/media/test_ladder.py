"""`scene ladder` with real encoders, a real ffmpeg and a real Shaka Packager."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from sources import ffmpeg

from scene.cli import run
from scene.errors import MissingError, UsageError, VerificationError
from scene.jobs.ladder import build
from scene.jobs.ladder.rungs import Rung, fitted_size, parse_rungs
from scene.video.packaging import packager, renditions
from scene.video.packaging.coded_video import CodedVideo, read_coded_video
from scene.video.source.probe import probe

SECONDS, RATE = 5, 25
QUICK = ("--preset", "ultrafast", "--segment-seconds", 1)
NONE = (*QUICK, "--model", "none")
DASH = "{urn:mpeg:dash:schema:mpd:2011}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320x180 with two languages, one of them in FLAC, and subtitles, under a name that means much to shells."""
    folder = tmp_path_factory.mktemp("source")
    captions = folder / "captions.srt"
    captions.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n\n2\n00:00:03,500 --> 00:00:04,500\nagain\n")
    path = folder / "a,b=$1 & 'c'.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s=320x180:r={RATE}:d={SECONDS}"),
        *("-f", "lavfi", "-i", f"sine=440:d={SECONDS}", "-i", captions),
        *("-map", "0", "-map", "1", "-map", "1", "-map", "2", "-c:v", "libx264", "-crf", 10, "-preset", "ultrafast"),
        *("-c:a:0", "aac", "-c:a:1", "flac", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu"),
        *("-metadata:s:a:1", "title=Director, with = and $", "-metadata:s:s:0", "language=eng", path),
    )
    return path


def ladder(source: Path, out: Path, *arguments: object) -> int:
    return run(["ladder", str(source), str(out), *map(str, arguments)])


def folders(out: Path, kind: str) -> list[str]:
    return sorted(path.name for path in (out / kind).iterdir())


def joined(folder: Path, to: Path) -> Path:
    """A rendition as one file, as a player reads it."""
    segments = sorted(folder.glob("*.m4s"), key=lambda path: int(path.stem))
    to.write_bytes(b"".join(path.read_bytes() for path in [folder / "init.mp4", *segments]))
    return to


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_rungs_are_aligned_whole_and_at_their_rates(source, tmp_path, codec):
    out = tmp_path / "o,ut"
    quick = ("--preset", "12" if codec == "svtav1" else "ultrafast", "--segment-seconds", 1)
    # SVT-AV1 4.1 was seen to hang once, its threads waiting for each other, with a bitrate.
    rate = "crf=35" if codec == "svtav1" else "400k"
    rungs = f"180p:{rate},160x90:crf=30"
    assert ladder(source, out, "--rungs", rungs, "--codec", codec, *quick, "--model", "scene-fast") == 0
    assert not out.with_name("o,ut.job").exists()
    names = folders(out, "video")
    assert names == ["160x90-crf30", f"320x180-{rate.replace('=', '')}"]
    for name in names:
        folder = out / "video" / name
        # Every segment begins with a key frame, by itself: decoded behind the header alone it gives all of its frames.
        for index in range(1, SECONDS + 1):
            alone = tmp_path / "alone.mp4"
            alone.write_bytes((folder / "init.mp4").read_bytes() + (folder / f"{index}.m4s").read_bytes())
            with av.open(str(alone)) as opened:
                assert sum(1 for _ in opened.decode(video=0)) == RATE
        video = read_coded_video(joined(folder, tmp_path / f"{name}.mp4"))
        assert [round(float(stamp), 3) for stamp in video.key_frames] == list(range(SECONDS))
        if "400k" in name:
            assert video.kbps == pytest.approx(400, rel=0.15)


def test_manifests_name_what_is_there(source, tmp_path):
    out = tmp_path / "out"
    assert ladder(source, out, "--rungs", "180p:400k,90p:100k", *NONE) == 0
    master = (out / "master.m3u8").read_text()
    variants = re.findall(r"#EXT-X-STREAM-INF:(.*)\n(\S+)", master)
    # The best first.
    assert [re.search(r"RESOLUTION=(\w+)", said)[1] for said, _ in variants] == ["320x180", "160x90"]
    assert all("FRAME-RATE=25.000" in said and 'AUDIO="audio-aac"' in said for said, _ in variants)
    assert len(re.findall("#EXT-X-I-FRAME-STREAM-INF", master)) == 2
    assert 'NAME="Director with and"' in master
    assert re.findall(r'TYPE=AUDIO.*LANGUAGE="(\w+)".*DEFAULT=(\w+)', master) == [("en", "YES"), ("de", "NO")]
    assert re.findall(r"TYPE=SUBTITLES.*DEFAULT=(\w+)", master) == ["NO"]
    playlists = [out / name for name in re.findall(r'URI="([^"]+)"', master)] + [out / name for _, name in variants]
    for playlist in playlists:
        text = playlist.read_text()
        assert text.rstrip().endswith("#EXT-X-ENDLIST") and "#EXT-X-PLAYLIST-TYPE:VOD" in text
        longest = max(float(seconds) for seconds in re.findall(r"#EXTINF:([0-9.]+)", text))
        assert round(longest) <= int(re.search(r"TARGETDURATION:(\d+)", text)[1])
        names = re.findall(r"^[^#\s]\S*", text, re.MULTILINE) + re.findall(r'MAP:URI="([^"]+)"', text)
        assert names and all((playlist.parent / name).is_file() for name in names)
        for length, offset, name in re.findall(r"BYTERANGE:(\d+)@(\d+)\n(\S+)", text):
            assert int(offset) + int(length) <= (playlist.parent / name).stat().st_size
    root = ElementTree.parse(out / "manifest.mpd").getroot()
    assert root.attrib["type"] == "static"
    kinds = [one.attrib["contentType"] for one in root.iter(f"{DASH}AdaptationSet")]
    assert sorted(kinds) == ["audio", "audio", "text", "video"]
    for template in root.iter(f"{DASH}SegmentTemplate"):
        count = sum(1 + int(step.attrib.get("r", 0)) for step in template.iter(f"{DASH}S"))
        media = template.attrib["media"]
        assert all((out / media.replace("$Number$", str(number))).is_file() for number in range(1, count + 1))
        assert (out / template.attrib["initialization"]).is_file()


def test_declared_rates_are_at_least_the_peaks(tmp_path):
    """The packager leaves the eleventh segment out, which is the dearest here."""
    path = tmp_path / "in.mkv"
    grey, noise = "color=gray:s=160x90:r=25", "nullsrc=s=160x90:r=25,geq=lum='random(1)*255':cb=128:cr=128"
    graph = "[0]trim=duration=10[a];[1]trim=duration=1[b];[2]trim=duration=1[c];[a][b][c]concat=n=3"
    inputs = [word for one in (grey, noise, grey) for word in ("-f", "lavfi", "-i", one)]
    ffmpeg(*inputs, "-lavfi", graph, "-c:v", "libx264", "-crf", 10, "-preset", "ultrafast", path)
    out = tmp_path / "out"
    assert ladder(path, out, "--rungs", "90p:crf=25", *NONE) == 0
    peak = (out / "video" / "160x90-crf25" / "11.m4s").stat().st_size * 8
    assert peak == max(file.stat().st_size * 8 for file in out.rglob("*.m4s"))
    declared = [
        int(re.search(r"[^-]BANDWIDTH=(\d+)", (out / "master.m3u8").read_text())[1]),
        int(re.search(r'bandwidth="(\d+)"', (out / "manifest.mpd").read_text())[1]),
    ]
    assert all(peak <= rate < 1.05 * peak for rate in declared)


def test_tracks_of_one_language_stay_apart_and_of_two_codecs_too(tmp_path):
    path = tmp_path / "in.mkv"
    (tmp_path / "s.srt").write_text("1\n00:00:00,500 --> 00:00:01,500\nHello\n")
    inputs = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=160x90:r=25:d=2",
        "-f",
        "lavfi",
        "-i",
        "sine=d=2",
        "-i",
        tmp_path / "s.srt",
    ]
    maps = ["-map", 0, "-map", 1, "-map", 1, "-map", 1, "-map", 2, "-map", 2]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a:0", "aac", "-c:a:1", "aac", "-c:a:2", "ac3"]
    tags = ["-metadata:s:a", "language=eng", "-metadata:s:a:1", "title=Commentary", "-metadata:s:s", "language=eng"]
    ffmpeg(*inputs, *maps, *codecs, *tags, path)
    out = tmp_path / "out"
    assert ladder(path, out, "--rungs", "90p:crf=25", *NONE) == 0
    sets = list(ElementTree.parse(out / "manifest.mpd").getroot().iter(f"{DASH}AdaptationSet"))
    assert sorted(one.attrib["contentType"] for one in sets) == ["audio"] * 3 + ["text"] * 2 + ["video"]
    labels = [one.find(f"{DASH}Label").text for one in sets if one.attrib["contentType"] == "audio"]
    assert len(set(labels)) == 3 and "Commentary" in labels
    for one in sets:
        # As the schema has them.
        kinds = [child.tag.removeprefix(DASH) for child in one]
        assert kinds == sorted(kinds, key=["Label", "Role", "Representation"].index)
    master = (out / "master.m3u8").read_text()
    found = re.findall(r'CODECS="([^"]+)".*AUDIO="([^"]+)"', master)
    assert sorted((codec.split(",")[1], group) for codec, group in found) == [
        ("ac-3", "audio-ac3"),
        ("mp4a.40.2", "audio-aac"),
    ]


@pytest.mark.parametrize(("form", "there"), [("hls", {"master.m3u8"}), ("dash", {"manifest.mpd"})])
def test_one_kind_of_manifest_alone(source, tmp_path, form, there):
    out = tmp_path / "out"
    assert ladder(source, out, "--rungs", "90p:crf=40", "--format", form, *NONE, "--no-audio") == 0
    assert {path.name for path in out.iterdir() if path.is_file()} == there
    assert not (out / "audio").exists()
    assert bool(list(out.rglob("*.vtt"))) == (form == "hls")


@pytest.mark.parametrize(("codec", "late"), [("aac", 0), ("flac", 0), ("aac", 1.5), ("flac", 1.5)])
def test_audio_stays_with_its_pictures(tmp_path, codec, late):
    """A white frame and a click at the same time, in the source and, by its timestamps, in what is delivered."""
    path = tmp_path / "in.mkv"
    flash = "color=black:s=160x90:r=25:d=4,drawbox=c=white:t=fill:enable='between(t,2.39,2.43)'"
    click = f"aevalsrc='if(between(t,{2.4 - late},{2.44 - late}),sin(6000*t),0)':s=48000:d={4 - late}"
    ffmpeg(
        *("-f", "lavfi", "-i", flash, "-itsoffset", late, "-f", "lavfi", "-i", click, "-map", 0, "-map", 1),
        *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", codec, path),
    )
    out = tmp_path / "out"
    assert ladder(path, out, "--rungs", "90p:crf=20", *NONE) == 0
    (video,), (audio,) = folders(out, "video"), folders(out, "audio")
    times = []
    with av.open(str(joined(out / "video" / video, tmp_path / "v.mp4"))) as opened:
        shown = {frame.time: frame.to_ndarray(format="gray").mean() for frame in opened.decode(video=0)}
        times.append(max(shown, key=shown.get))
    with av.open(str(joined(out / "audio" / audio, tmp_path / "a.mp4"))) as opened:
        loud = {}
        for frame in opened.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(float)).max(axis=0)
            loud.update(
                {frame.time + n / frame.sample_rate: samples[n : n + 48].mean() for n in range(0, len(samples), 48)}
            )
        top = max(loud.values())
        times.append(min(time for time, value in loud.items() if value > top / 3))
    assert abs(times[0] - times[1]) < 0.04


def test_a_telephones_video_is_upright(tmp_path):
    """Packaged streams say nothing of rotation."""
    plain, source, out = tmp_path / "plain.mp4", tmp_path / "in.mp4", tmp_path / "out"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=1", "-c:v", "libx264", "-preset", "ultrafast", plain)
    ffmpeg("-display_rotation", 90, "-i", plain, "-c", "copy", source)
    assert ladder(source, out, "--rungs", "180p:crf=20,90p:crf=20", *NONE) == 0
    assert folders(out, "video") == ["180x320-crf20", "90x160-crf20"]
    with av.open(str(joined(out / "video" / "180x320-crf20", tmp_path / "v.mp4"))) as opened:
        shown = next(opened.decode(video=0)).to_ndarray(format="gray").astype(float)
    with av.open(str(plain)) as opened:
        turned = np.rot90(next(opened.decode(video=0)).to_ndarray(format="gray").astype(float))
    assert np.abs(shown - turned).mean() < 4


def test_a_run_that_ended_goes_on_with_the_rungs_that_it_has(source, tmp_path, monkeypatch, capfd):
    out = tmp_path / "out"
    monkeypatch.setattr(build, "package", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    arguments = ("--rungs", "180p:400k,90p:crf=30", *NONE)
    assert ladder(source, out, *arguments) == 130
    assert not out.exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out.job").glob("*x*.mp4")}
    assert len(kept) == 2
    monkeypatch.undo()
    # Another rate is another rung.
    assert ladder(source, out, "--rungs", "180p:400k,90p:crf=31", *NONE) == 0
    said = capfd.readouterr().err
    assert "320x180-400k: it is there from an earlier run" in said and "160x90-crf31: 125 frames" in said
    assert not (tmp_path / "out.job").exists()


def test_a_ladder_is_replaced_only_when_asked_and_nothing_else_ever(source, tmp_path, capfd):
    out = tmp_path / "out"
    arguments = ("--rungs", "90p:crf=40", *NONE)
    assert ladder(source, out, *arguments) == 0
    before = (out / "master.m3u8").read_text()
    assert ladder(source, out, *arguments) == 2
    assert "give --overwrite to replace it" in capfd.readouterr().err
    assert ladder(source, out, "--rungs", "90p:crf=40,90p:crf=45", *NONE, "-y") == 0
    assert (out / "master.m3u8").read_text() != before
    other = tmp_path / "photographs"
    other.mkdir()
    (other / "dear.jpg").write_bytes(b"dear")
    assert ladder(source, other, *arguments, "-y") == 2
    assert "is there and is no ladder" in capfd.readouterr().err
    assert (other / "dear.jpg").read_bytes() == b"dear" and len(list(other.iterdir())) == 1


def test_rungs_on_the_hull(source, tmp_path, capfd):
    out = tmp_path / "out"
    assert ladder(source, out, "--auto", *QUICK, "--model", "scene-fast") == 0
    said = capfd.readouterr().err
    plan = json.loads((out / "hull.json").read_text())
    rungs = plan["rungs"]
    names = [name_of(rung) for rung in rungs]
    assert sorted(names) == folders(out, "video")
    # Each is cheaper and worse than the one before, and its encode takes about what was expected of it.
    assert all(one["kbps"] > two["kbps"] and one["score"] > two["score"] for one, two in pairwise(rungs))
    for name, rung in zip(names, rungs, strict=True):
        video = read_coded_video(joined(out / "video" / name, tmp_path / "v.mp4"))
        assert video.kbps == pytest.approx(rung["kbps"], rel=0.15)
    assert "At equal VMAF NEG the hull with scene-fast takes" in said
    page = (out / "hull.html").read_text()
    assert "a,b=$1 &amp; &#39;c&#39;.mkv" in page and page.count('class="rung"') == len(rungs)


def name_of(planned: dict[str, Any]) -> str:
    (width, height), crf = planned["rung"]["size"], planned["rung"]["crf"]
    return f"{width}x{height}-crf{crf:g}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give --rungs, such as"),
        (("--auto", "--rungs", "90p:100k"), "give --rungs, such as"),
        (("--rungs", "90p"), "'90p' is no rung"),
        (("--rungs", "720p:2M"), "720p:2M is larger than"),
        (("--rungs", "640x360:2M"), "640x360:2M is larger than"),
        (("--rungs", "91x45:200k"), "is odd"),
        (("--rungs", "90p:200k,90p:0.2M"), "two of the --rungs are the same"),
        (("--rungs", "90p:crf=99"), "--crf 99 is out of range"),
        (("--rungs", "90p:200k", "--crf", "20"), "leave --crf out"),
        (("--rungs", "90p:200k", "--encoder-args", "keyint=7"), "--encoder-args keyint is what keeps rungs aligned"),
        (("--rungs", "90p:200k", "--codec", "vvenc"), "a ladder cannot be made with vvenc; use x264, x265, svtav1"),
        (("--rungs", "90p:200k", "--segment-seconds", "0"), "--segment-seconds 0 makes no sense"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(source, tmp_path, capfd, arguments, said):
    assert ladder(source, tmp_path / "out", *arguments) == 2
    assert said in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_a_packager_one_sentence_says_how_to_get_it(source, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SCENE_PACKAGER", str(tmp_path / "nowhere"))
    assert ladder(source, tmp_path / "out", "--rungs", "90p:200k") == MissingError.exit_code
    assert "$SCENE_PACKAGER names" in capfd.readouterr().err


def test_rungs_that_are_not_aligned_are_found():
    one, two = Rung((320, 180), 400), Rung((160, 90), 100)
    videos = [CodedVideo((Fraction(0), Fraction(stamp)), Fraction(4), 1000) for stamp in (2, 1)]
    with pytest.raises(VerificationError, match="160x90-100k has its key frames elsewhere"):
        build._check_aligned([one, two], videos)


@pytest.mark.parametrize(
    ("size", "aspect", "lines", "fitted"),
    [
        ((1920, 1080), 1, 720, (1280, 720)),
        ((1920, 800), 1, 720, (1280, 534)),
        ((1440, 1080), 1, 720, (960, 720)),
        ((1080, 1920), 1, 720, (720, 1280)),
        ((720, 576), Fraction(16, 15), 360, (480, 360)),
        ((1920, 1080), 1, 1080, (1920, 1080)),
        ((1916, 1076), 1, 1080, (1916, 1076)),
        ((1280, 720), 1, 1080, None),
    ],
)
def test_sizes_keep_the_shape_of_the_source(source, size, aspect, lines, fitted):

    info = probe(source)
    info = replace(
        info, format=replace(info.format, width=size[0], height=size[1]), sample_aspect_ratio=Fraction(aspect)
    )
    assert fitted_size(info, lines) == fitted


def test_rungs_are_sorted_and_read_as_they_are_written(source):
    info = probe(source)
    rungs = parse_rungs([" 90p:crf=30", "180p:0.4M ", "180p:600k"], info)
    assert rungs == (Rung((320, 180), 600), Rung((320, 180), 400), Rung((160, 90), crf=30.0))
    with pytest.raises(UsageError):
        parse_rungs(["90p:0k"], info)


@pytest.mark.parametrize(
    ("code", "language", "name"),
    [
        ("eng", "en", "English"),
        ("ger", "de", "Deutsch"),
        ("fra", "fr", "Français"),
        ("pt-BR", "pt-BR", "Português (Brasil)"),
        *((code, "", "") for code in ("und", "xyz", "", "a b", "zxx")),
    ],
)
def test_languages_have_their_own_names(code, language, name):
    assert renditions._language(code) == (language, name)


def test_titles_cannot_become_descriptors():
    assert packager.plain_title('a,b=c$d"e\nf') == "a b c d e f"
