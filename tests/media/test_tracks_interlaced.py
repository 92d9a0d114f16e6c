"""Interlaced sources: refused, or with `--deinterlace` one progressive frame for each."""

from fractions import Fraction

import av
import numpy as np
import pytest
from making import assert_same_pictures, assert_same_times, decoded, encode, make_network, make_video
from sources import ffmpeg

# Bars that move by four pixels from field to field.
MOVING = "testsrc2=s=96x64:r=50:d=0.8,scroll=h=0.04"


def interlaced(path, order="tff", codec="libx264"):
    """20 interlaced frames with content that moves from field to field."""
    first = "interleave_top" if order == "tff" else "interleave_bottom"
    flags = ("-x264-params", f"{order}=1") if codec == "libx264" else ("-flags", "+ilme+ildct", "-q:v", "1")
    weave = f"tinterlace={first},setfield={order}"
    ffmpeg("-f", "lavfi", "-i", MOVING, "-vf", weave, "-c:v", codec, *flags, path)
    return path


def flags(path):
    with av.open(str(path)) as file:
        return [frame.interlaced_frame for frame in file.decode(video=0)]


def comb(path):
    """How much neighbouring lines differ more than lines of the same field do: high where fields are woven."""
    lumas = [shown.planes[0].astype(int) for shown in decoded(path)]
    between = np.mean([np.abs(np.diff(luma, axis=0)).mean() for luma in lumas])
    within = np.mean([np.abs(luma[2:] - luma[:-2]).mean() for luma in lumas])
    return between / within


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_frame_for_a_frame_at_its_time(tmp_path, order, codec, suffix):
    source, target = interlaced(tmp_path / "in.mkv", order, codec), tmp_path / f"out{suffix}"
    assert flags(source) == [True] * 20
    assert encode(source, target, "--deinterlace", "--model", "none", "--encoder-args", "qp=0") == 0
    assert flags(target) == [False] * 20
    assert_same_times(decoded(source), decoded(target))
    assert comb(source) > 1.1 > 1 > comb(target)


def test_the_field_order_is_the_frames_own(tmp_path):
    """The same fields in either order: bwdif keeps the first field of each frame, which differs."""
    top, bottom = interlaced(tmp_path / "t.mkv", "tff"), interlaced(tmp_path / "b.mkv", "bff")
    for source in (top, bottom):
        target = source.with_suffix(".mp4")
        assert encode(source, target, "--deinterlace", "--model", "none", "--encoder-args", "qp=0") == 0
        offset = 0 if source is top else 1
        for before, after in zip(decoded(source), decoded(target), strict=True):
            kept = after.planes[0][offset::2].astype(int) - before.planes[0][offset::2]
            made = after.planes[0][1 - offset :: 2].astype(int) - before.planes[0][1 - offset :: 2]
            assert np.abs(kept).max() == 0
            assert np.abs(made).max() > 20


def test_progressive_frames_among_interlaced_ones_are_left_as_they_are(tmp_path):
    """As PAFF and MBAFF streams have them; variable frame rate and a network on top."""
    one, two = tmp_path / "one.mkv", interlaced(tmp_path / "two.mkv")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.4", "-c:v", "libx264", "-x264-params", "qp=0", one)
    source = tmp_path / "in.ts"
    ffmpeg("-i", one, "-c", "copy", tmp_path / "one.ts")
    ffmpeg("-i", two, "-c", "copy", "-output_ts_offset", "1", tmp_path / "two.ts")
    source.write_bytes((tmp_path / "one.ts").read_bytes() + (tmp_path / "two.ts").read_bytes())
    marks = flags(source)
    assert set(marks) == {False, True}
    target = tmp_path / "out.mkv"
    assert encode(source, target, "--deinterlace", "--model", "none", "--encoder-args", "qp=0") == 0
    before, after = decoded(source), decoded(target)
    assert_same_times(before, after)
    for mark, a, b in zip(marks, before, after, strict=True):
        assert np.array_equal(a.planes[0], b.planes[0]) != mark
    assert (
        encode(source, tmp_path / "enhanced.mkv", "--deinterlace", "--model", make_network(tmp_path / "n.safetensors"))
        == 0
    )
    assert_same_times(before, decoded(tmp_path / "enhanced.mkv"))


def test_progressive_video_is_not_touched(tmp_path):
    stamps = [0, 33, 40, 140, 141, 500, 533, 900]
    source = make_video(tmp_path / "in.mkv", stamps=stamps)
    assert encode(source, tmp_path / "out.mkv", "--deinterlace", "--model", "none", "--encoder-args", "qp=0") == 0
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))
    assert_same_times(decoded(source), decoded(tmp_path / "out.mkv"), Fraction(0))


def test_one_frame(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=1)
    assert encode(source, tmp_path / "out.mkv", "--deinterlace", "--model", "none") == 0
    assert len(decoded(tmp_path / "out.mkv")) == 1


def test_pictures_that_are_too_small(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", size=(2, 2), frames=2)
    assert encode(source, tmp_path / "out.mkv", "--deinterlace", "--model", "none") == 3
    assert "cannot be deinterlaced" in capfd.readouterr().err


def test_refused_with_the_option_to_give(tmp_path, capfd):
    source = interlaced(tmp_path / "in.mkv")
    assert encode(source, tmp_path / "out.mkv", "--model", "none") == 3
    assert "--deinterlace" in capfd.readouterr().err
    assert not (tmp_path / "out.mkv").exists()
