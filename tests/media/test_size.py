"""Frames that are turned and scaled before all else."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from chunked import both, make_shots, times
from making import assert_same_pictures, decoded
from sources import ffmpeg

import scene
from scene import EncodeRequest, EncoderSettings, EnhanceOptions, UsageError
from scene.video.display_matrix import turn_of
from scene.video.source.crop import Crop
from scene.video.source.decode import Decoder
from scene.video.source.presentation import scaled_info, upright_info
from scene.video.source.probe import probe

BYPASS = EnhanceOptions(model="none")
LOSSLESS = EncoderSettings("x264", preset="ultrafast", encoder_args="qp=0")


def encoded(tmp_path, source, size, **fields):
    out = tmp_path / f"{source.stem}-out.mkv"
    scene.encode(EncodeRequest(source, out, LOSSLESS, fields.pop("enhancement", BYPASS), size=size, **fields))
    return out


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv444p"])
def test_frames_are_those_of_ffmpeg_s_lanczos_filter(tmp_path, pixel_format):
    """A second implementation is the ffmpeg program, of another version, with the same filter on the same frames."""
    source = tmp_path / "in.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:r=10:d=1", "-pix_fmt", pixel_format, "-c:v", "ffv1", source)
    scaled = tmp_path / "scaled.mkv"
    options = "flags=lanczos+accurate_rnd+full_chroma_int:in_chroma_loc=left:out_chroma_loc=left"
    ffmpeg("-i", source, "-vf", f"scale=160:90:{options}", "-pix_fmt", pixel_format, "-c:v", "ffv1", scaled)
    for mine, theirs in zip(decoded(encoded(tmp_path, source, (160, 90))), decoded(scaled), strict=True):
        assert mine.planes[0].shape == (90, 160)
        for left, right in zip(mine.planes, theirs.planes, strict=True):
            assert np.abs(left.astype(int) - right.astype(int)).max() <= 1


def test_times_tracks_and_shape_are_kept(tmp_path):
    source = make_shots(tmp_path / "in.mkv", stamps=[37 * number + number % 3 for number in range(85)])
    out = encoded(tmp_path, source, (96, 96))
    assert times(out) == times(encoded(tmp_path, source.rename(tmp_path / "other.mkv"), None))
    with av.open(str(out)) as opened:
        video = opened.streams.video[0]
        assert (video.width, video.height) == (96, 96)
        # 128x96 with square samples is 4:3.
        assert video.sample_aspect_ratio == Fraction(4, 3)


def test_chunks_and_enhancement_see_the_scaled_frames(tmp_path):
    source = make_shots(tmp_path / "in.mkv")
    request = EncodeRequest(source, tmp_path / "out.mkv", LOSSLESS, EnhanceOptions("scene-fast"), size=(96, 72))
    one, chunks = both(request, tmp_path)
    assert_same_pictures(decoded(one), decoded(chunks))
    assert decoded(one)[0].planes[0].shape == (72, 96)


@pytest.mark.parametrize(
    ("size", "said"),
    [((256, 96), "is larger than"), ((95, 72), "is odd, which chroma of 4:2:0"), ((0, 72), "makes no sense")],
)
def test_sizes_that_cannot_be(tmp_path, size, said):
    source = make_shots(tmp_path / "in.mkv", audio=None)
    with pytest.raises(UsageError, match=said):
        encoded(tmp_path, source, size)
    assert not (tmp_path / "in-out.mkv").exists()


def test_a_search_takes_the_file_as_it_is(tmp_path):
    source = make_shots(tmp_path / "in.mkv", audio=None)
    request = EncodeRequest(source, tmp_path / "out.mkv", enhancement=BYPASS, size=(64, 48))
    targets = (scene.Target("vmaf_neg", 90.0),)
    with pytest.raises(UsageError, match="leave `size` out"):
        scene.encode_to_target(scene.TargetEncodeRequest(request, targets))


MATRICES = {
    "rotation=0": (1, 0, 0, 1),
    "rotation=90": (0, -1, 1, 0),
    "rotation=180": (-1, 0, 0, -1),
    "rotation=270": (0, 1, -1, 0),
    "hflip": (-1, 0, 0, 1),
    "vflip": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "rotation=90, hflip": (0, -1, -1, 0),
}


@pytest.mark.parametrize("entries", MATRICES.values(), ids=MATRICES)
def test_turns_are_those_of_the_matrix(entries):
    """By the definition: the sample at (x, y) is shown at (a x + c y, b x + d y)."""
    a, b, c, d = entries
    turn = turn_of((a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30))
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3)
    points = {(a * x + c * y, b * x + d * y): picture[y, x] for y in range(2) for x in range(3)}
    left, top = min(x for x, _ in points), min(y for _, y in points)
    shown = np.zeros((3, 2) if a == 0 else (2, 3), np.uint8)
    for (x, y), value in points.items():
        shown[y - top, x - left] = value
    if turn is None:
        assert np.array_equal(shown, picture)
        return
    mine = picture.T if turn.swaps else picture
    mine = mine[:, ::-1] if turn.mirrors else mine
    assert np.array_equal(mine[::-1] if turn.flips else mine, shown)


@pytest.mark.parametrize("turn", ["", "rotation 90", "rotation 180", "rotation 270 -display_hflip"])
def test_pictures_are_turned_as_players_turn_them(tmp_path, turn):
    """The ffmpeg program turns by itself."""
    plain, source, turned = (tmp_path / f"{name}.mp4" for name in ("plain", "in", "turned"))
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=1", *("-c:v", "libx264", "-qp", 0), plain)
    ffmpeg(*(f"-display_{turn}".split() if turn else ()), "-i", plain, "-c", "copy", source)
    ffmpeg("-i", source, "-c:v", "libx264", "-qp", 0, turned)
    out = encoded(tmp_path, source, None, autorotate=True)
    assert_same_pictures(decoded(turned), decoded(out))
    assert probe(out).display_matrix is None
    if not turn:
        return
    # Without it the file says so instead, where it can.
    handed_on = tmp_path / "handed-on.mp4"
    scene.encode(EncodeRequest(source, handed_on, LOSSLESS, BYPASS))
    assert probe(handed_on).display_matrix == probe(source).display_matrix
    assert_same_pictures(decoded(plain), decoded(handed_on))


def test_cropped_turned_and_scaled_in_this_order(tmp_path):
    source = tmp_path / "in.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=1", *("-c:v", "libx264", "-qp", 0), tmp_path / "plain.mp4")
    ffmpeg("-display_rotation", 90, "-i", tmp_path / "plain.mp4", "-c", "copy", source)
    info, crop = probe(source), Crop(left=6, right=2, top=8, bottom=4)
    info = scaled_info(upright_info(replace(info, crop=crop, format=crop.shown(info.format))), (18, 28))
    assert (info.coded_format.width, info.coded_format.height) == (64, 48)
    filters = "crop=56:36:6:8,transpose=cclock,scale=18:28:flags=lanczos+accurate_rnd+full_chroma_int"
    lossless = ("-c:v", "libx264", "-qp", 0)
    place = "in_chroma_loc=left:out_chroma_loc=left"
    ffmpeg("-i", tmp_path / "plain.mp4", "-vf", f"{filters}:{place}", *lossless, tmp_path / "out.mp4")
    with Decoder(info, writable=False) as decoder:
        mine = [unit.frame.picture().planes for unit in decoder.units() if unit.frame is not None]
    for left, right in zip(mine, decoded(tmp_path / "out.mp4"), strict=True):
        for one, two in zip(left, right.planes, strict=True):
            assert np.abs(one.astype(int) - two.astype(int)).max() <= 1
