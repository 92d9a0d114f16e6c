"""Streams whose pictures or time stamps do not go on as they began, as in files that were spliced."""

from itertools import pairwise

import pytest
from making import decoded, encode, make_video
from sources import ffmpeg


def spliced(folder, start):
    """A transport stream of a second, and then another whose time stamps begin at `start` seconds."""
    pieces = []
    for number, offset in enumerate((0, start)):
        piece = folder / f"{number}.ts"
        pictures = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1", "-c:v", "mpeg2video")
        ffmpeg(*pictures, "-muxdelay", "0", "-output_ts_offset", offset, piece)
        pieces.append(piece.read_bytes())
    source = folder / "in.ts"
    source.write_bytes(b"".join(pieces))
    return source


@pytest.mark.parametrize("mode", ["fail", "skip"])
def test_times_that_jump_back(tmp_path, capfd, mode):
    source, target = spliced(tmp_path, 0), tmp_path / "out.mkv"
    assert encode(source, target, "--model", "none", "--on-error", mode) == 3
    assert "in.ts: time stamps jump back after 1.00 s" in capfd.readouterr().err
    assert not target.exists()


def test_times_that_step_back_a_little(tmp_path, capfd):
    """Every frame stays, at increasing times."""
    source, target = spliced(tmp_path, 0.8), tmp_path / "out.mp4"
    assert encode(source, target, "--model", "none") == 0
    assert "time stamps did not increase and were moved" in capfd.readouterr().err
    times = [shown.time for shown in decoded(target)]
    assert len(times) == 50
    assert all(a < b for a, b in pairwise(times))


@pytest.mark.parametrize("mode", ["fail", "skip"])
def test_a_change_of_pixel_format(tmp_path, capfd, mode):
    pieces = [
        make_video(tmp_path / f"{pix_fmt}.h264", codec="libx264", frames=5, pix_fmt=pix_fmt).read_bytes()
        for pix_fmt in ("yuv420p", "yuv444p")
    ]
    source, target = tmp_path / "in.h264", tmp_path / "out.mkv"
    source.write_bytes(b"".join(pieces))
    assert encode(source, target, "--model", "none", "--on-error", mode) == 3
    assert "the pixel format changes from yuv420p to yuv444p after 0.16 s" in capfd.readouterr().err
    assert not target.exists()
