"""Words of other programs: understood, or answered by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from scene.cli import run
from scene.cli.habits import translate
from scene.errors import UsageError
from scene.video.encoders import ENCODERS, name_of


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("encode -i a.mkv b.mkv", "encode a.mkv b.mkv"),
        ("encode a b --codec libx265 --crf 24", "encode a b --codec x265 --crf 24"),
        ("encode a b --codec=h264", "encode a b --codec x264"),
        ("encode -i a -c:v libsvtav1 -crf 30 -preset 6 b", "encode a --codec svtav1 --crf 30 --preset 6 b"),
        ("encode a b -e AV1", "encode a b --codec svtav1"),
        ("encode a b --codec hevc_nvenc", "encode a b --codec nvenc-hevc"),
        ("encode a b --bitrate 2M", "encode a b --bitrate 2000"),
        ("encode a b -b:v 1.5M -an", "encode a b --bitrate 1500 --no-audio"),
        ("encode a b --bitrate=2500k", "encode a b --bitrate 2500"),
        ("encode a b --bitrate 800kbps", "encode a b --bitrate 800"),
        ("encode a b --bitrate 2000", "encode a b --bitrate 2000"),
        ("encode a b --bitrate many", "encode a b --bitrate many"),
        ("encode a b --target vmaf=90 --max-kbps 2.5Mbit/s", "encode a b --target vmaf=90 --max-kbps 2500"),
        ("encode a b -map -a:1", "encode a b --map -a:1"),
        ("encode a b --map -an", "encode a b --map -an"),
        ("encode -- -i -crf", "encode -- -i -crf"),
        ("evaluate a --codecs h264,hevc,av1", "evaluate a --codecs x264,x265,svtav1"),
        ("evaluate a --preset libx264=slow,av1=6", "evaluate a --preset x264=slow,svtav1=6"),
        ("filter - - --codec h265 --crf 20", "filter - - --codec x265 --crf 20"),
        ("batch a -o b --codec h264", "batch a --out b --codec x264"),
        ("evaluate a --output=b", "evaluate a --out=b"),
        ("train -i", "train -i"),
        ("encode a b --codec vp9", "encode a b --codec vp9"),
        ("encode a b --strength -1 -y", "encode a b --strength -1 -y"),
        ("encode a b --codec", "encode a b --codec"),
    ],
)
def test_what_is_typed_is_what_is_meant(typed: str, meant: str) -> None:
    assert translate(typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("encode a -o b", "-o is another program's option: the output is the word after the source"),
        ("encode a b -c:a copy", "audio is copied as it is"),
        ("encode a b -vf scale=2:2", "filter before"),
        ("encode a b -x264-params keyint=3", "--encoder-args"),
        (
            "encode a b --bitrate 2000000",
            "2000000 kbit/s are 2 Gbit/s; give kbit/s, such as 2000, or",
        ),
    ],
)
def test_what_has_no_word_here_is_answered_by_name(typed: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as caught:
        translate(typed.split())
    assert answer in str(caught.value)
    assert run(typed.split()) == 2
    assert answer in capsys.readouterr().err


def test_no_two_encoders_have_a_name_in_common() -> None:
    names = [name for e in ENCODERS.values() for name in {e.name, e.ffmpeg_name, *e.aliases}]
    assert len(names) == len(set(names)) > 15
    assert all(name_of(name.upper()) in ENCODERS for name in names)


def test_an_ffmpeg_user_gets_as_far_as_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = f"encode -i {tmp_path / 'gone.mkv'} -c:v libx265 -b:v 2M -preset fast {tmp_path / 'out.mkv'}"
    assert run(typed.split()) == 3
    assert "gone.mkv does not exist" in capsys.readouterr().err
