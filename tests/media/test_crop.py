"""Pictures of which the container hides the edges: Matroska's PixelCrop and the clean aperture of mp4 and mov."""

import json
from fractions import Fraction

import numpy as np
import pytest
from making import assert_same_pictures, assert_same_times, decoded, encode, hide_edges, make_network, make_video
from sources import ffmpeg
from test_encode_captions import captioned, captions

from scene.cli import run
from scene.errors import InputError
from scene.video.source.excerpt import read_excerpt
from scene.video.source.probe import probe
from scene.video.source.samples import Span, read_samples

CODED = (96, 80)
LOSSLESS = ("--preset", "ultrafast", "--encoder-args", "qp=0")


def made(folder, suffix, crop, **properties):
    """A lossless source with hidden edges; the container of mkv is written by FFmpeg from a mov."""
    mov = make_video(folder / "in.mov", size=CODED, codec="libx264", options={"qp": "0", "bf": "0"}, **properties)
    hide_edges(mov, CODED, crop)
    if suffix == ".mov":
        return mov
    ffmpeg("-i", mov, "-c", "copy", folder / f"in{suffix}")
    return folder / f"in{suffix}"


def shown(path, crop, chroma):
    """What a player shows of each picture, chroma between two samples being their mean."""
    left, right, top, bottom = crop
    pictures = decoded(path)
    for picture in pictures:
        planes = []
        for index, plane in enumerate(picture.planes):
            down = 2 if index and chroma == "420" else 1
            across = 2 if index and chroma in {"420", "422"} else 1
            rows, columns = -(-(CODED[1] - top - bottom) // down), -(-(CODED[0] - left - right) // across)
            exact = plane.astype(np.float64)
            for axis, (hidden, step, count) in enumerate([(top, down, rows), (left, across, columns)]):
                at = hidden / step + np.arange(count)
                low = np.take(exact, np.floor(at).astype(int), axis)
                high = np.take(exact, np.minimum(np.ceil(at).astype(int), exact.shape[axis] - 1), axis)
                exact = np.floor((low + high + 1) / 2)
            planes.append(exact.astype(plane.dtype))
        object.__setattr__(picture, "planes", tuple(planes))
    return pictures


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".mp4"])
@pytest.mark.parametrize(
    "pix_fmt,chroma", [("yuv420p", "420"), ("yuv422p", "422"), ("yuv444p", "444"), ("yuv420p10le", "420")]
)
@pytest.mark.parametrize("crop", [(0, 0, 16, 16), (6, 10, 14, 2), (0, 0, 15, 15), (3, 1, 5, 7)])
def test_what_is_hidden_is_cut_off(tmp_path, capfd, crop, pix_fmt, chroma, suffix):
    source, target = made(tmp_path, suffix, crop, pix_fmt=pix_fmt), tmp_path / "out.mkv"
    left, right, top, bottom = crop
    assert encode(source, target, "--model", "none", *LOSSLESS) == 0
    info = probe(target)
    assert (info.format.width, info.format.height) == (CODED[0] - left - right, CODED[1] - top - bottom)
    assert info.crop is None
    before, after = shown(source, crop, chroma), decoded(target)
    assert_same_pictures(before, after)
    assert_same_times(before, after)
    between = (left % 2 and chroma != "444") or (top % 2 and chroma == "420")
    assert ("begins within a sample of chroma" in capfd.readouterr().err) == bool(between)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".ts"])
def test_into_every_container(tmp_path, suffix):
    source, target = made(tmp_path, ".mkv", (0, 0, 16, 16), sar=Fraction(4, 3)), tmp_path / f"out{suffix}"
    codec = ("--codec", "svtav1", "--preset", "12") if suffix == ".webm" else ()
    assert encode(source, target, "--model", "none", *codec) == 0
    info = probe(target)
    assert (info.format.width, info.format.height, info.sample_aspect_ratio) == (96, 48, Fraction(4, 3))


def test_a_network_sees_what_is_shown(tmp_path):
    """Identity before a lossless encoder: what is cut off is the same with and without a network."""
    source = made(tmp_path, ".mkv", (6, 10, 16, 16))
    network = make_network(tmp_path / "network.safetensors", identity=True)
    assert encode(source, tmp_path / "out.mkv", "--model", network, "--device", "cpu", *LOSSLESS) == 0
    assert_same_pictures(shown(source, (6, 10, 16, 16), "420"), decoded(tmp_path / "out.mkv"))


def test_captions_and_rotation_stay(tmp_path):
    mov = tmp_path / "in.mov"
    assert encode(captioned(tmp_path), tmp_path / "plain.mov", "--model", "none") == 0
    ffmpeg("-display_rotation", 90, "-i", tmp_path / "plain.mov", "-c", "copy", mov)
    hide_edges(mov, (64, 48), (0, 0, 4, 4))
    assert encode(mov, tmp_path / "out.mp4", "--model", "none") == 0
    assert captions(tmp_path / "out.mp4") == captions(mov)
    info = probe(tmp_path / "out.mp4")
    assert (info.format.width, info.format.height) == (64, 40)
    assert info.display_matrix[:5] == probe(mov).display_matrix[:5]
    assert info.display_matrix[:2] != (65536, 0)


def test_samples_and_excerpts_are_of_what_is_shown(tmp_path):
    """Which searches and trainings look at."""
    crop = (6, 10, 15, 15)
    source = made(tmp_path, ".mkv", crop)
    wanted = shown(source, crop, "420")
    (sample,) = read_samples(probe(source), [Span(Fraction(0), 3)], tmp_path)
    for picture, expected in zip(sample.pictures(), wanted, strict=False):
        assert all(np.array_equal(a, b) for a, b in zip(picture.planes, expected.planes, strict=True))
    whole = made(tmp_path, ".mov", (0, 0, 0, 0))
    cut, uncut = read_excerpt(source, Fraction(0), 2), read_excerpt(whole, Fraction(0), 2)
    assert all(np.array_equal(a, b[15:-15, 6:-10]) for a, b in zip(cut, uncut, strict=True))


def test_everything_hidden_is_refused(tmp_path, capfd):
    """Where the container says that pictures are larger than they are."""
    source = tmp_path / "in.mkv"
    data = made(tmp_path, ".mkv", (0, 0, 16, 16)).read_bytes()
    # PixelCropBottom, PixelCropTop and PixelHeight, of one byte each.
    for element, value in ((b"\x54\xaa\x81", 100), (b"\x54\xbb\x81", 100), (b"\xba\x81", 240)):
        assert data.count(element) == 1
        at = data.index(element) + len(element)
        data = data[:at] + bytes([value]) + data[at + 1 :]
    source.write_bytes(data)
    assert encode(source, tmp_path / "out.mkv", "--model", "none") == 3
    assert "hides all of its 96x80 pictures" in capfd.readouterr().err
    with pytest.raises(InputError, match="hides all"):
        read_excerpt(source, Fraction(0), 2)


@pytest.mark.parametrize(
    "tag", ["title=Frame cropping: 8/8/8/8", "title=x\n      Frame Cropping: 8/8/8/8", "Frame Cropping=8/8/8/8"]
)
def test_a_tag_hides_nothing(tmp_path, tag):
    source = tmp_path / "in.mkv"
    ffmpeg("-i", make_video(tmp_path / "plain.mkv"), "-c", "copy", "-metadata:s:v", tag, source)
    assert probe(source).crop is None


def test_a_comparison_is_of_what_is_shown(tmp_path, capsys):
    """One line too far up or down would cost most of the score."""
    plain, source = tmp_path / "in.mov", tmp_path / "in.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=240x330:r=25:d=0.2", "-c:v", "libx264", "-crf", 10, plain)
    hide_edges(plain, (240, 330), (0, 0, 45, 45))
    ffmpeg("-i", plain, "-c", "copy", source)
    target = tmp_path / "out.mkv"
    assert encode(source, target, "--model", "none", "--crf", 10) == 0
    capsys.readouterr()
    assert run(["compare", str(source), str(target), "--json"]) == 0
    (point,) = json.loads(capsys.readouterr().out)["points"]
    assert point["psnr_y"] > 40
