"""Samples found in every pixel format, against swscale, which permutes them its own way."""

import re
from fractions import Fraction

import av
import numpy as np
import pytest

from scene.errors import InputError
from scene.picture import Picture
from scene.video.pixel_format import frame_picture, picture_format, sample_layout, to_planar, write_picture

PACKED = [
    *("nv12", "nv21", "nv16", "nv24", "nv42", "nv20le", "p010le", "p012le", "p210le", "p212le", "p410le", "p412le"),
    *("yuyv422", "yvyu422", "uyvy422", "y210le", "y212le", "vuyx", "vyu444", "xv30le", "xv36le"),
    *("0rgb", "0bgr", "rgb0", "bgr0", "rgb24", "bgr24", "x2rgb10le", "x2bgr10le"),
]
LIMITED, FULL = 1, 2


def random_frame(name: str, width: int = 35) -> av.VideoFrame:
    frame = av.VideoFrame(width, 19, name)
    fmt = picture_format(frame)
    rng = np.random.default_rng(1)
    dtype = np.uint8 if fmt.bit_depth == 8 else np.uint16
    planes = tuple(rng.integers(0, 2**fmt.bit_depth, shape).astype(dtype) for shape in fmt.plane_shapes)
    write_picture(frame, Picture(fmt, planes))
    frame.pts, frame.time_base, frame.duration = 7, Fraction(1, 25), 2
    return frame


def test_pairs_of_samples_need_an_even_width() -> None:
    paired = {name for name in PACKED if sample_layout(name).in_pairs}
    assert paired == {"yuyv422", "yvyu422", "uyvy422", "y210le", "y212le"}
    for name in paired:
        with pytest.raises(InputError, match="a width of 35 is odd"):
            picture_format(av.VideoFrame(35, 8, name))


@pytest.mark.parametrize("name", PACKED)
def test_packed_samples_are_found_where_swscale_puts_them(name: str) -> None:
    layout = sample_layout(name)
    assert not layout.is_planar and sample_layout(layout.planar).is_planar
    # On the way to p010le and to pairs of samples swscale forgets the last column of chroma where the width is odd.
    planar = random_frame(layout.planar, 34 if name == "p010le" or layout.in_pairs else 35)
    # The same range on both sides, or swscale would convert it.
    limits = FULL if layout.rgb else LIMITED
    # With threads swscale's code for pairs writes past the end of a row, into the first one of another thread's.
    back = to_planar(planar.reformat(format=name, src_color_range=limits, dst_color_range=limits, threads=1))
    assert back.format.name == layout.planar
    assert (back.pts, back.time_base, back.duration) == (7, Fraction(1, 25), 2)
    fmt = picture_format(planar)
    for before, after in zip(frame_picture(planar, fmt).planes, frame_picture(back, fmt).planes, strict=True):
        assert np.array_equal(before, after)


def test_rgb24_is_written_as_swscale_reads_it() -> None:
    planar = random_frame("gbrp")
    packed = av.VideoFrame(36, 20, "rgb24")
    write_picture(packed, frame_picture(planar, picture_format(planar)))
    written = packed.to_ndarray()
    assert np.array_equal(written[:19, :35], planar.reformat(format="rgb24").to_ndarray())
    assert np.array_equal(written[19], written[18]) and np.array_equal(written[:, 35], written[:, 34])


@pytest.mark.parametrize("name", ["yuv420p", "yuvj444p", "gray12le", "gbrp10le"])
def test_planar_frames_stay_what_they_are_and_can_be_changed_in_place(name: str) -> None:
    frame = av.VideoFrame(16, 8, name)
    assert to_planar(frame) is frame
    for plane in frame_picture(frame, picture_format(frame)).planes:
        plane[:] = 77
    assert all((plane == 77).all() for plane in frame_picture(frame, picture_format(frame)).planes)


def test_what_formats_hold() -> None:
    held = {name: sample_layout(name) for name in ("yuvj422p", "yuv444p12le", "gray10le", "gbrp", "nv12", "bgr0")}
    assert {name: (layout.planar, layout.chroma, layout.bit_depth, layout.rgb) for name, layout in held.items()} == {
        "yuvj422p": ("yuv422p", "422", 8, False),
        "yuv444p12le": ("yuv444p12le", "444", 12, False),
        "gray10le": ("gray10le", "400", 10, False),
        "gbrp": ("gbrp", "444", 8, True),
        "nv12": ("yuv420p", "420", 8, False),
        "bgr0": ("gbrp", "444", 8, True),
    }


def test_every_format_that_ffmpeg_knows_is_taken_whole_or_refused_by_name() -> None:
    """No format with a palette or floats is ever taken for one without, and of alpha it is known where it lies."""
    for name in sorted(av.video.format.names):
        pixels = av.VideoFormat(name)
        try:
            layout = sample_layout(name)
        except InputError as error:
            assert name in str(error) and re.search(r"convert|remove", str(error))
            alpha = any(part.is_alpha for part in pixels.components)
            assert ("palette" if pixels.has_palette else "alpha" if alpha else "convert") in str(error)
            continue
        assert any(part.is_alpha for part in pixels.components) == (layout.alpha is not None), name
        assert not pixels.has_palette and not pixels.is_bit_stream and not pixels.is_big_endian, name
        assert len(pixels.components) == len(layout.places) + (layout.alpha is not None), name
        assert {part.bits for part in pixels.components} == {layout.bit_depth}, name
        assert pixels.is_rgb == layout.rgb, name


@pytest.mark.parametrize(
    "name", ["rgba", "argb", "bgra", "abgr", "yuva422p", "yuva444p12le", "gbrap16le", "ya8", "ya16le"]
)
def test_one_sample_that_is_not_opaque_is_seen_wherever_it_lies(name: str) -> None:
    layout = sample_layout(name)
    assert layout.alpha is not None
    frame = av.VideoFrame(35, 19, name)
    lines = []
    for plane in frame.planes:
        words = np.frombuffer(plane, layout.word)  # type: ignore[call-overload]
        words[:] = (1 << layout.bit_depth) - 1
        lines.append(words.reshape(-1, plane.line_size // words.itemsize))
    frame.time_base = Fraction(1, 25)
    assert to_planar(frame).format.name == layout.planar
    for row, column in ((0, 0), (18, 34), (7, 11)):
        place = (row, layout.alpha.first + layout.alpha.step * column)
        lines[layout.alpha.plane][place] -= 1
        with pytest.raises(InputError, match=f"{name} has an alpha channel, and not all is opaque"):
            picture_format(frame)
        lines[layout.alpha.plane][place] += 1
    assert picture_format(frame).bit_depth == layout.bit_depth
