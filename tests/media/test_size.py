"""Frames that are scaled before all else."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from chunked import both, make_shots, times
from making import assert_same_pictures, decoded
from sources import ffmpeg

import scene
from scene import EncodeRequest, EncoderSettings, EnhanceOptions, UsageError

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
