"""Colour tags, ranges, matrices, chroma locations and RGB from a source's file to the output's."""

from fractions import Fraction

import av
import numpy as np
import pytest
from making import assert_same_pictures, decoded, encode, make_network, make_video

from scene.cli import run
from scene.enhance import Enhancer
from scene.errors import InputError
from scene.measure.clip import open_clips
from scene.model import load_model
from scene.picture import Picture, PictureFormat, guess_matrix
from scene.video.source.excerpt import read_excerpt
from scene.video.source.probe import probe

LOSSLESS = {
    "x264": ["--codec", "x264", "--preset", "ultrafast", "--encoder-args", "qp=0"],
    "x265": ["--codec", "x265", "--preset", "ultrafast", "--encoder-args", "lossless=1"],
    "svtav1": ["--codec", "svtav1", "--preset", "10", "--encoder-args", "lossless=1"],
}
UNSPECIFIED, LIMITED, FULL = 2, 1, 2
MATRICES = {
    "bt709": 1,
    "unspecified": UNSPECIFIED,
    "fcc": 4,
    "bt470bg": 5,
    "smpte170m": 6,
    "smpte240m": 7,
    "ycgco": 8,
    "bt2020nc": 9,
    "bt2020c": 10,
    "ictcp": 14,
}
RGB_SOURCE = {"codec": "utvideo", "pix_fmt": "gbrp"}


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return {p: make_network(folder / f"{p}.safetensors", planes=p, identity=True) for p in ("luma", "rgb")}


@pytest.mark.parametrize("limits", [0, LIMITED, FULL])
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_every_matrix_and_range_is_kept_and_an_identity_exact(tmp_path, identities, matrix, limits):
    # Each matrix with other depths and subsamplings in turn.
    pix_fmt = ("yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p")[matrix % 4]
    codec = "svtav1" if pix_fmt.startswith("yuv420") else "x265"
    colour = (UNSPECIFIED, UNSPECIFIED, matrix, limits)
    source = make_video(tmp_path / "in.mkv", pix_fmt=pix_fmt, colour=colour, frames=2)
    planes = "luma" if guess_matrix(matrix, 64, 48) == "other" else "rgb"
    assert encode(source, tmp_path / "out.mkv", *LOSSLESS[codec], "--model", identities[planes]) == 0
    before, after = probe(source).colour, probe(tmp_path / "out.mkv").colour
    assert (before.matrix, before.range) == (matrix, limits)
    assert (after.primaries, after.transfer, after.matrix) == (UNSPECIFIED, UNSPECIFIED, matrix)
    # Bitstreams have no third value: what is not full is limited.
    assert after.range == max(limits, LIMITED)
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))


@pytest.mark.parametrize("codec", LOSSLESS)
def test_primaries_transfer_and_matrix_are_kept_by_every_encoder(tmp_path, codec):
    for suffix in (".mkv", ".mp4"):
        for colour in ((1, 1, 1, 1), (5, 6, 5, 1), (12, 1, 1, 2), (9, 14, 9, 1)):
            source = make_video(tmp_path / "in.mkv", pix_fmt="yuv420p10le", colour=colour, frames=2)
            target = tmp_path / f"out{suffix}"
            assert encode(source, target, "-y", *LOSSLESS[codec], "--model", "none") == 0
            tags = probe(target).colour
            assert (tags.primaries, tags.transfer, tags.matrix, tags.range) == colour


def test_models_on_rgb_refuse_matrices_that_do_not_lead_there(tmp_path, capfd, identities):
    source = make_video(tmp_path / "in.mkv", pix_fmt="yuv420p10le", colour=(9, 14, 10, 1), frames=2)
    assert encode(source, tmp_path / "out.mkv", "--model", identities["rgb"]) == 2
    assert "the source's matrix does not lead" in capfd.readouterr().err


def test_pictures_of_luma_and_chroma_that_claim_to_be_rgb_are_taken_for_undeclared(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", colour=(1, 1, 0, 1), frames=2)
    assert encode(source, tmp_path / "out.mkv", *LOSSLESS["x264"], "--model", "none") == 0
    assert "declared as RGB, which its pictures are not" in capfd.readouterr().err
    assert probe(tmp_path / "out.mkv").colour.matrix == UNSPECIFIED
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))


@pytest.mark.parametrize("limits", [0, LIMITED, FULL])
@pytest.mark.parametrize(
    "codec,suffix,pix_fmt",
    [("x264", ".mkv", "bgr0"), ("x264", ".mp4", "bgr0"), ("x265", ".mov", "bgr0"), ("x265", ".mkv", "gbrp10le")],
)
def test_rgb_stays_rgb(tmp_path, codec, suffix, pix_fmt, limits):
    colour = (1, 1, 0, limits)
    source = make_video(tmp_path / "in.mkv", pix_fmt=pix_fmt, frames=3, size=(33, 21), colour=colour)
    target = tmp_path / f"out{suffix}"
    assert encode(source, target, *LOSSLESS[codec], "--model", "none") == 0
    info = probe(target)
    assert info.format.matrix == "rgb" and info.pixel_format.startswith("gbrp")
    assert (info.colour.matrix, info.colour.range) == (0, limits or FULL)
    assert info.format.full_range == (limits != LIMITED)
    assert_same_pictures(decoded(source), decoded(target))


@pytest.mark.parametrize("planes", ["luma", "rgb"])
@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_rgb_is_enhanced_as_rgb(tmp_path, codec, planes):
    source = make_video(tmp_path / "in.avi", **RGB_SOURCE, frames=2)
    weights = make_network(tmp_path / "net.safetensors", planes=planes)
    assert encode(source, tmp_path / "out.mkv", *LOSSLESS[codec], "--model", weights) == 0
    enhancer = Enhancer(load_model(weights), device="cpu")
    fmt = PictureFormat(64, 48, 8, "444", True, "rgb")
    for before, after in zip(decoded(source), decoded(tmp_path / "out.mkv"), strict=True):
        (expected,) = enhancer([Picture(fmt, before.planes)])
        for want, got, was in zip(expected.planes, after.planes, before.planes, strict=True):
            assert np.array_equal(want, got) and not np.array_equal(was, got)


def test_rgb_that_no_encoder_here_takes(tmp_path, capfd):
    eight = make_video(tmp_path / "in.avi", **RGB_SOURCE, frames=2)
    ten = make_video(tmp_path / "in.mkv", pix_fmt="gbrp10le", frames=2)
    deep = make_video(tmp_path / "deep.mkv", pix_fmt="gbrp16le", frames=2)
    for source, codec, text in (
        (eight, "svtav1", "8-bit RGB video, as {} is; use x264 or x265"),
        (ten, "x264", "10-bit RGB video, as {} is; use x265"),
        (deep, "x265", "16-bit RGB video, as {} is; convert it first (format=gbrp12le)"),
    ):
        assert encode(source, tmp_path / "out.mp4", "--codec", codec, "--model", "none") == 2
        assert text.format(source) in capfd.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


def test_training_reads_rgb_and_evaluation_refuses_it(tmp_path):
    source = make_video(tmp_path / "in.avi", **RGB_SOURCE, frames=2)
    green, blue, red = decoded(source)[0].planes
    assert np.array_equal(read_excerpt(source, Fraction(0), 1)[0], np.stack([red, green, blue], axis=2))
    odd = make_video(tmp_path / "in.mkv", colour=(1, 1, 8, 1), frames=2)
    for path in (source, odd):
        with pytest.raises(InputError, match=r"601, 709 or 2020"):
            open_clips([path])
    with pytest.raises(InputError, match="matrix"):
        read_excerpt(odd, Fraction(0), 1)


LOCATIONS = ("left", "center", "topleft", "top", "bottomleft", "bottom")


def located(path, location: str):
    return make_video(path, codec="libx264", options={"chroma_sample_location": location, "qp": "0"}, frames=2)


@pytest.mark.parametrize("codec", LOSSLESS)
def test_chroma_location_is_kept_or_its_loss_is_told(tmp_path, capfd, codec):
    for location in LOCATIONS:
        source = located(tmp_path / "in.mkv", location)
        assert encode(source, tmp_path / "out.mkv", "-y", *LOSSLESS[codec], "--model", "none") == 0
        lost = codec == "svtav1" and location not in {"left", "topleft"}
        assert (f"chroma lies {location}" in capfd.readouterr().err) == lost
        info = probe(tmp_path / "out.mkv")
        # H.264's own writer leaves out what is usual.
        assert info.chroma_location == (None if lost or location == "left" else location)


def test_networks_on_rgb_sample_chroma_where_it_lies(tmp_path):
    weights = make_network(tmp_path / "net.safetensors", planes="rgb")
    enhancer = Enhancer(load_model(weights), device="cpu")
    results = []
    for location in ("left", "center", "topleft"):
        source = located(tmp_path / "in.mkv", location)
        assert encode(source, tmp_path / "out.mkv", "-y", *LOSSLESS["x264"], "--model", weights) == 0
        fmt = PictureFormat(64, 48, matrix="bt601", chroma_location=location)
        (expected,) = enhancer([Picture(fmt, decoded(source)[0].planes)])
        results.append(decoded(tmp_path / "out.mkv")[0].planes)
        for want, got in zip(expected.planes, results[-1], strict=True):
            assert np.array_equal(want, got)
    assert not np.array_equal(results[0][1], results[1][1]) and not np.array_equal(results[0][1], results[2][1])


def test_decoders_that_know_where_chroma_lies_are_heard(tmp_path):
    jpeg = make_video(tmp_path / "in.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=2)
    mpeg = make_video(tmp_path / "in.mkv", codec="mpeg2video", time_base=Fraction(1, 25), frames=2)
    assert (probe(jpeg).chroma_location, probe(mpeg).chroma_location) == ("center", "left")
    assert encode(jpeg, tmp_path / "out.mkv", *LOSSLESS["x265"], "--model", "none") == 0
    assert probe(tmp_path / "out.mkv").chroma_location == "center"


def test_alpha_of_vp9_beside_the_picture_is_named(tmp_path, capfd):
    source = make_video(tmp_path / "in.webm", codec="libvpx-vp9", pix_fmt="yuva420p", frames=3)
    assert encode(source, tmp_path / "out.mkv", *LOSSLESS["x264"], "--model", "none") == 0
    assert "transparency (alpha) is not carried over" in capfd.readouterr().err


@pytest.mark.parametrize("pix_fmt", ["yuva420p", "yuva444p10le", "gbrap10le", "bgra", "ya8"])
def test_alpha_in_the_picture_is_refused(tmp_path, capfd, pix_fmt):
    source = make_video(tmp_path / "in.mkv", pix_fmt=pix_fmt, frames=2)
    assert encode(source, tmp_path / "out.mkv", "--model", "none") == 3
    assert f"pixel format {pix_fmt} has an alpha channel" in capfd.readouterr().err


@pytest.mark.parametrize("suffix,codec,pix_fmt", [("avi", "utvideo", "gbrp"), ("nut", "rawvideo", "nv12")])
@pytest.mark.parametrize("model", ["none", "changes"])
def test_filter_gives_planar_samples(tmp_path, suffix, codec, pix_fmt, model):
    source = make_video(tmp_path / f"in.{suffix}", codec=codec, pix_fmt=pix_fmt, frames=3)
    weights = model if model == "none" else make_network(tmp_path / "net.safetensors")
    assert run(["filter", str(source), str(tmp_path / "out.nut"), "--model", str(weights)]) == 0
    with av.open(str(tmp_path / "out.nut")) as file:
        assert file.streams.video[0].pix_fmt == ("gbrp" if pix_fmt == "gbrp" else "yuv420p")
    before, after = decoded(source), decoded(tmp_path / "out.nut")
    assert len(before) == len(after) == 3
    for a, b in zip(before, after, strict=True):
        same = [np.array_equal(one, other) for one, other in zip(a.planes, b.planes, strict=True)]
        changed = 0 if model == "none" else 3 if pix_fmt == "gbrp" else 1
        assert same == [False] * changed + [True] * (3 - changed)
