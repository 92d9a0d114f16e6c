"""YUV4MPEG2 out and in again, and rubbish refused."""

import io
from fractions import Fraction

import numpy as np
import pytest

from scene.errors import InputError
from scene.picture import Chroma, Picture, PictureFormat
from scene.video.rawvideo.y4m import Y4MHeader, read_frames, read_header, write_frame, write_header

RATE = Fraction(24000, 1001)


def picture(fmt: PictureFormat, seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if fmt.bit_depth == 8 else np.uint16
    return Picture(fmt, tuple(rng.integers(0, 2**fmt.bit_depth, s).astype(dtype) for s in fmt.plane_shapes))


@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
@pytest.mark.parametrize("bit_depth", [8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize("size", [(16, 8), (17, 9)])
def test_what_is_written_is_read(chroma: Chroma, bit_depth: int, size: tuple[int, int]) -> None:
    fmt = PictureFormat(*size, bit_depth, chroma, full_range=bit_depth == 10, matrix="bt601")
    header = Y4MHeader(fmt, RATE)
    pictures = [picture(fmt, seed) for seed in range(3)]
    stream = io.BytesIO()
    write_header(stream, header)
    for one in pictures:
        write_frame(stream, one)
    stream.seek(0)
    assert read_header(stream, matrix="bt601") == header
    read = list(read_frames(stream, header))
    assert len(read) == 3
    for before, after in zip(pictures, read, strict=True):
        for there, back in zip(before.planes, after.planes, strict=True):
            assert back.dtype == there.dtype
            np.testing.assert_array_equal(back, there)


def head(line: bytes) -> Y4MHeader:
    return read_header(io.BytesIO(line))


def test_the_header_of_other_programs_is_understood() -> None:
    header = head(b"YUV4MPEG2 W640 H360 F24:1 Ip A0:0 C420jpeg XYSCSS=420JPEG XCOLORRANGE=LIMITED\n")
    assert (header.format.width, header.format.height, header.rate) == (640, 360, 24)
    assert not header.format.full_range
    assert head(b"YUV4MPEG2 W2 H2 F1:1\n").format.chroma == "420"
    assert head(b"YUV4MPEG2 C444p10 F1:1 H2 W2 XCOLORRANGE=FULL\n").format.full_range


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"RIFF....AVI \n",
        b"YUV4MPEG2 W640 H360 F24:1",
        b"YUV4MPEG2 " + b"X" * 5000 + b"\n",
        b"YUV4MPEG2 W640 F24:1\n",
        b"YUV4MPEG2 W-4 H360 F24:1\n",
        b"YUV4MPEG2 W0 H360 F24:1\n",
        b"YUV4MPEG2 W65535 H65535 F24:1\n",
        b"YUV4MPEG2 W16384 H16384 F24:1\n",
        b"YUV4MPEG2 W640 H360 F0:1\n",
        b"YUV4MPEG2 W640 H360 F24:0\n",
        b"YUV4MPEG2 W640 H360 F24:1 It\n",
        b"YUV4MPEG2 W640 H360 F24:1 C411\n",
        b"YUV4MPEG2 W\xff H360 F24:1\n",
    ],
)
def test_headers_that_cannot_be_meant_are_refused(line: bytes) -> None:
    with pytest.raises(InputError):
        head(line)


@pytest.mark.parametrize("rate", [b" F0:0", b""])
def test_a_rate_that_is_unknown_is_ffmpegs(rate: bytes) -> None:
    header = head(b"YUV4MPEG2 W640 H360" + rate + b" Ip A0:0 C420\n")
    assert (header.rate, header.rated) == (25, False)
    assert head(b"YUV4MPEG2 W640 H360 F25:1\n").rated


@pytest.mark.parametrize("tail", [b"FRAME\n" + b"\0" * 5, b"FRAMES\n" + b"\0" * 6, b"F", b"\0" * 200])
def test_damaged_frames_are_refused(tail: bytes) -> None:
    header = head(b"YUV4MPEG2 W2 H2 F1:1\n")
    with pytest.raises(InputError):
        list(read_frames(io.BytesIO(b"FRAME\n" + b"\0" * 6 + tail), header))


def test_a_depth_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="11 bit"):
        write_header(io.BytesIO(), Y4MHeader(PictureFormat(2, 2, 11), RATE))
