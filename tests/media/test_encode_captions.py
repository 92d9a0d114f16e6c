"""Closed captions inside the video stream, which belong to its frames."""

import re

import av
import pytest
from making import encode, make_video

# ATSC A/53 in a message of H.264 (SEI, user data by ITU-T T.35): one pair of line 21's bytes.
CAPTION = b"\xb5\x00\x31GA94\x03\x41\xff\xfc\x94\x2c\xff"
MESSAGE = b"\0\0\0\1\x06\x04" + bytes([len(CAPTION)]) + CAPTION + b"\x80"


def captioned(folder):
    """H.264 with a caption before each picture."""
    plain = make_video(folder / "plain.h264", codec="libx264", frames=6)
    path = folder / "in.h264"
    path.write_bytes(
        re.sub(rb"\x00\x00\x00?\x01[\x01\x21\x41\x61\x65]", lambda found: MESSAGE + found[0], plain.read_bytes())
    )
    return path


def captions(path):
    """What each frame has of them."""
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    return [[bytes(item) for item in frame.side_data if item.type.name == "A53_CC"] for frame in frames]


@pytest.mark.parametrize("codec", ["x264", "x265"])
@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_captions_are_kept(tmp_path, capfd, codec, suffix):
    source, target = captioned(tmp_path), tmp_path / f"out{suffix}"
    before = captions(source)
    assert before == [[b"\xfc\x94\x2c"]] * 6
    assert encode(source, target, "--model", "none", "--codec", codec) == 0
    assert captions(target) == before
    assert "warning" not in capfd.readouterr().err


def test_captions_that_are_lost_are_told_of(tmp_path, capfd):
    source, target = captioned(tmp_path), tmp_path / "out.mkv"
    assert encode(source, target, "--model", "none", "--codec", "svtav1", "--preset", "12") == 0
    assert "its closed captions are not carried over" in capfd.readouterr().err
    assert captions(target) == [[]] * 6
