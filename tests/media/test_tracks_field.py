"""Kinds of files that people have, and that clean test clips do not look like."""

from fractions import Fraction

import av
import pytest
from making import MS, assert_same_times, decoded, encode, make_subtitled, make_video, packets
from sources import PICTURES, SOUND, ffmpeg

# FFmpeg's muxer of mp4 takes no step of 2^31 ticks or more: in microseconds 35 min 47 s.
MINUTE = 60_000
FAR = 2**31 // 1000


def shown_text(path):
    """What a track of text shows: (start, end, words), all in seconds, pieces of one text put together."""
    found = []
    with av.open(str(path)) as file:
        for packet in file.demux(subtitles=0):
            data = bytes(packet)
            words = data[2:].decode() if file.format.name.startswith("mov") else data.decode()
            if not packet.size or not words:
                continue
            start = packet.pts * packet.time_base
            end = start + packet.duration * packet.time_base
            if found and found[-1][2] == words and abs(found[-1][1] - start) <= MS:
                start = found.pop()[0]
            found.append((start, end, words))
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("source_suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize(
    "cues",
    [
        [(36 * MINUTE, 36 * MINUTE + 2000, "late")],
        [(10_000, 12_000, "one"), (59 * MINUTE, 59 * MINUTE + 2000, "two")],
        [(1000, 1500, "one"), (300 * MINUTE, 301 * MINUTE, "two"), (301 * MINUTE, 302 * MINUTE, "three")],
        [(500, 80 * MINUTE, "for long"), (90 * MINUTE, 91 * MINUTE, "two")],
        [(FAR - 1, FAR, "just before"), (2 * FAR, 2 * FAR + 1, "just as far")],
        [(FAR, FAR + 1, "just at it"), (2 * FAR + 2, 2 * FAR + 3, "just behind")],
    ],
)
def test_text_with_long_pauses(tmp_path, capfd, cues, source_suffix, suffix):
    plain, source, target = tmp_path / "in.mkv", tmp_path / f"made{source_suffix}", tmp_path / f"out{suffix}"
    make_subtitled(plain, cues, stamps=[0, 40, 80, cues[-1][1]])
    if source_suffix == ".mkv":
        source = plain
    else:
        assert encode(plain, source, "--model", "none") == 0
    assert encode(source, target, "--model", "none") == 0
    assert [(1000 * start, 1000 * end, text) for start, end, text in shown_text(target)] == cues
    assert_same_times(decoded(source), decoded(target))
    assert "overlap" not in capfd.readouterr().err


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_long_text_with_others_over_it(tmp_path, capfd, suffix):
    """As a sign of the station: mp4 and mov show the latest text alone, and each begins at its time."""
    source, target = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    cues = [(0, 120 * MINUTE, "station"), (MINUTE, MINUTE + 2000, "one"), (50 * MINUTE, 130 * MINUTE, "two")]
    make_subtitled(source, cues, stamps=[0, 40, 80, 130 * MINUTE])
    assert encode(source, target, "--model", "none") == 0
    assert "has subtitles that overlap" in capfd.readouterr().err
    assert [(1000 * start, 1000 * end, text) for start, end, text in shown_text(target)] == [
        (0, MINUTE, "station"),
        (MINUTE, MINUTE + 2000, "one"),
        (50 * MINUTE, 130 * MINUTE, "two"),
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_fine_clock_with_pauses(tmp_path, suffix):
    """Ten million ticks a second, and five minutes between two frames."""
    clock, source, target = Fraction(1, 10_000_000), tmp_path / "in.nut", tmp_path / f"out{suffix}"
    stamps = [0, 400_000, 3_000_000_000, 3_000_400_000]
    make_video(source, codec="libx264", options={"bf": "0"}, time_base=clock, stamps=stamps)
    assert encode(source, target, "--model", "none") == 0
    assert [shown.time for shown in decoded(target)] == [stamp * clock for stamp in stamps]


@pytest.mark.parametrize("suffix,code", [(".mp4", 3), (".mov", 3), (".mkv", 0)])
def test_frames_too_far_apart_for_a_clock(tmp_path, capfd, suffix, code):
    source, target = tmp_path / "in.nut", tmp_path / f"out{suffix}"
    stamps = [0, 40_000, 2_200_000_000]
    make_video(source, codec="libx264", options={"bf": "0"}, time_base=Fraction(1, 1_000_000), stamps=stamps)
    assert encode(source, target, "--model", "none") == code
    if code:
        assert "frames are 2200 s apart" in capfd.readouterr().err
    assert target.exists() == (code == 0)


# The clock of MPEG's streams has 33 bits and counts to 90000 a second, 26 hours and a half.
WRAP = Fraction(2**33, 90000)


def sound_after_pictures(path):
    """How much later than the first picture each packet of audio is."""
    first = decoded(path)[0].time
    return [time - first for time, _ in packets(path, "audio")]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
@pytest.mark.parametrize("source_suffix", [".ts", ".m2ts", ".mpg"])
@pytest.mark.parametrize("before", [30, 0.5])
def test_a_clock_about_to_wrap(tmp_path, capfd, before, source_suffix, suffix):
    """FFmpeg gives a file that begins within a minute before the wrap negative times."""
    source, target = tmp_path / f"in{source_suffix}", tmp_path / f"out{suffix}"
    codecs = ("-c:v", "mpeg2video", "-c:a", "mp2") if source_suffix == ".mpg" else ("-c:v", "libx264", "-c:a", "aac")
    at = ("-muxdelay", 0, "-output_ts_offset", float(WRAP) - before)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1", *SOUND, *codecs, "-g", 10, *at, source)
    shown = decoded(source)
    assert shown[0].time < 0
    assert encode(source, target, "--model", "none") == 0
    after = decoded(target)
    moved = after[0].time - shown[0].time
    assert suffix == ".ts" or abs(moved - WRAP) <= MS
    assert len(after) == len(shown)
    assert max(abs(b.time - a.time - moved) for a, b in zip(shown, after, strict=True)) <= MS
    heard, was_heard = sound_after_pictures(target), sound_after_pictures(source)
    assert max(abs(a - b) for a, b in zip(heard, was_heard, strict=True)) <= 2 * MS
    assert "warning" not in capfd.readouterr().err


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_pictures_before_zero(tmp_path, capfd, suffix):
    """Which ASF can hold and the other containers cannot."""
    source, target = tmp_path / "in.asf", tmp_path / f"out{suffix}"
    early = ("-avoid_negative_ts", "disabled", "-output_ts_offset", -2)
    ffmpeg(*PICTURES, *SOUND, "-c:v", "mpeg4", "-c:a", "mp2", *early, source)
    assert decoded(source)[0].time == -2
    assert encode(source, target, "--model", "none") == 0
    assert [shown.time for shown in decoded(target)] == [shown.time + 2 for shown in decoded(source)]
    was_heard = sound_after_pictures(source)
    assert max(abs(a - b) for a, b in zip(sound_after_pictures(target), was_heard, strict=True)) <= 2 * MS
    assert "begins 2.000 s before 0; all its times are moved by that" in capfd.readouterr().err
