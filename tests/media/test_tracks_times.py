"""Audio and video stay in step, whatever the clocks, starts and lengths of a source are."""

from fractions import Fraction
from itertools import pairwise

import av
import pytest
from making import MS, decoded, encode, make_video, packets
from sources import PICTURES, SOUND, ffmpeg, for_suffix

SUFFIXES = [".mp4", ".mov", ".mkv", ".webm", ".ts", ".m2ts"]


def sound_at(path):
    """When audio is heard, as a decoder gives it: after what a container hides was left out."""
    with av.open(str(path)) as file:
        frames = [(f.pts * f.time_base, f.samples) for f in file.decode(audio=0)]
    return frames[0][0], sum(samples for _, samples in frames)


def audio_for(suffix):
    return "libopus" if suffix == ".webm" else "aac"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("source_suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("start,length", [(0, 0.6), (0.25, 0.6), (0, 0.1), (0, 2), (0.7, 0.3)])
def test_audio_starts_and_ends_where_it_did(tmp_path, source_suffix, suffix, start, length):
    """Later, shorter and longer than the video, and only after its end; priming included."""
    source, target = tmp_path / f"in{source_suffix}", tmp_path / f"out{suffix}"
    sound = ("-itsoffset", start, "-f", "lavfi", "-i", f"sine=r=48000:d={length}", "-ac", "2")
    ffmpeg(*PICTURES, *sound, "-c:v", "libx264", "-c:a", audio_for(suffix), source)
    assert encode(source, target, *for_suffix(suffix)) == 0
    moved = decoded(target)[0].time - decoded(source)[0].time
    assert moved == 0 or suffix in {".ts", ".m2ts"}
    before, after = packets(source, "audio"), packets(target, "audio")
    assert len(before) == len(after)
    assert max(abs(a - b + moved) for (a, _), (b, _) in zip(before, after, strict=True)) <= 2 * MS
    # The silence with which encoders of AAC begin, 1024 samples, is hidden in some containers and heard in others.
    (heard, samples), (was_heard, had) = sound_at(target), sound_at(source)
    assert abs(heard - was_heard - moved) <= Fraction(1024, 48000) + 2 * MS
    assert abs(samples - had) <= 1024


@pytest.mark.parametrize("start", [Fraction(-2), Fraction(1, 2), Fraction(3600)])
@pytest.mark.parametrize("suffix", [".ts", ".m2ts"])
def test_transport_streams_move_all_tracks_together(tmp_path, start, suffix):
    stamps = [round((start + Fraction(s, 1000)) * 1000) for s in (0, 33, 40, 140, 141, 500, 533, 900)]
    source = make_video(tmp_path / "in.nut", stamps=stamps)
    target = tmp_path / f"out{suffix}"
    assert encode(source, target, "--preset", "medium", "--model", "none") == 0
    found = [s.time for s in decoded(target)]
    steps = [b - a for a, b in pairwise(found)]
    assert (
        max(abs(a - b) for a, b in zip(steps, (Fraction(b - a, 1000) for a, b in pairwise(stamps)), strict=True)) <= MS
    )
    # Decoding begins a second and a half before, for buffers to fill.
    assert found[0] >= Fraction(7, 5)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_times_that_fall_on_one_tick(tmp_path, capfd, suffix):
    """Audio with a clock that is far too fast: muxers insist on times that increase."""
    source = tmp_path / "in.mp4"
    ffmpeg(*PICTURES, "-f", "lavfi", "-i", "sine=d=0.6", "-c:v", "libx264", "-c:a", "aac", source)
    data = bytearray(source.read_bytes())
    header = data.index(b"mdhd", data.index(b"mdhd") + 1)
    data[header + 16 : header + 20] = (2_000_000_000).to_bytes(4, "big")  # ticks a second
    source.write_bytes(data)
    assert encode(source, tmp_path / f"out{suffix}", "--model", "none") == 0
    assert "stream 1 (aac audio) has time stamps out of order, which are moved" in capfd.readouterr().err


@pytest.mark.parametrize("suffix", SUFFIXES[:3] + SUFFIXES[4:])
def test_a_gap_in_the_audio_stays_where_it_is(tmp_path, suffix):
    """In transport streams it closes where packets of audio share a time."""
    source, target = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    gap = ("-bsf:a", "setts=ts=TS+4800*gte(N\\,7)")
    ffmpeg(*PICTURES, *SOUND, "-c:v", "libx264", "-c:a", "aac", *gap, source)
    assert encode(source, target, "--model", "none") == 0
    moved = decoded(target)[0].time - decoded(source)[0].time
    before, after = packets(source, "audio"), packets(target, "audio")
    assert max(b - a for (a, _), (b, _) in pairwise(before)) > 100 * MS
    assert max(abs(a - b + moved) for (a, _), (b, _) in zip(before, after, strict=True)) <= MS


def broken_adts(tmp_path):
    """A transport stream in which one frame of its audio has lost the end of its header."""
    source = tmp_path / "in.ts"
    ffmpeg(*PICTURES, "-f", "lavfi", "-i", "sine=d=0.6", "-c:v", "libx264", "-c:a", "aac", source)
    data = bytearray(source.read_bytes())
    places = [i for i in range(len(data) - 2) if data[i : i + 2] == b"\xff\xf1"]
    data[places[len(places) // 2] + 2] |= 0x3C  # a sampling rate that there is none of
    source.write_bytes(data)
    return source


def test_a_packet_that_cannot_be_copied(tmp_path, capfd):
    source, target = broken_adts(tmp_path), tmp_path / "out.mp4"
    assert encode(source, target, "--model", "none") == 3
    assert "in.ts is damaged: a packet of stream 1 (aac audio) cannot be copied" in capfd.readouterr().err
    assert not target.exists()
    assert encode(source, target, "--model", "none", "--on-error", "skip") == 0
    assert "a packet of stream 1 (aac audio) cannot be copied" in capfd.readouterr().err
    assert len(packets(target, "audio")) == len(packets(source, "audio")) - 1


def test_a_track_that_begins_late(tmp_path, capfd):
    """As broadcasts have it: beyond what FFmpeg reads to learn what a file holds, so that it cannot be described."""
    one, two, source = tmp_path / "one.ts", tmp_path / "two.ts", tmp_path / "in.ts"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:d=1", "-c:v", "libx264", one)
    sound = ("-f", "lavfi", "-i", "sine=d=1", "-c:a", "mp2")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:d=1", *sound, "-c:v", "libx264", "-output_ts_offset", "1", two)
    padding = (b"\x47\x1f\xff\x10" + bytes(184)) * 30_000
    source.write_bytes(one.read_bytes() + padding + two.read_bytes())
    assert encode(source, tmp_path / "out.mkv", "--model", "none") == 2
    assert "leave it out with --map -0:1" in capfd.readouterr().err
    assert encode(source, tmp_path / "out.mkv", "--model", "none", "--map", "-0:1") == 0
    assert len(decoded(tmp_path / "out.mkv")) == 50
