"""The pictures that `scene encode` writes, compared sample by sample through lossless encoders."""

import av
import numpy as np
import pytest
from making import assert_same_pictures, assert_same_times, decoded, encode, make_network, make_video, textured

from scene.enhance import Enhancer
from scene.model import load_model
from scene.picture import Picture, PictureFormat
from scene.video.ffmpeg import find_ffmpeg
from scene.video.pixel_format import sample_layout

X264 = ["--codec", "x264", "--preset", "ultrafast", "--encoder-args", "qp=0"]
X265 = ["--codec", "x265", "--preset", "ultrafast", "--encoder-args", "lossless=1"]
SVT = ["--codec", "svtav1", "--preset", "8", "--encoder-args", "lossless=1"]


@pytest.mark.parametrize("bypass", ["none", "strength", "identity"])
@pytest.mark.parametrize(
    "codec,pix_fmt",
    [
        (X264, "yuv420p"),
        (X264, "yuv420p10le"),
        (X264, "yuv422p10le"),
        (X264, "gray"),
        (X265, "yuv420p"),
        (X265, "yuv444p10le"),
        (SVT, "yuv420p"),
        (SVT, "yuv420p10le"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[1],
)
def test_bypass_is_bit_exact(tmp_path, codec, pix_fmt, bypass):
    source = make_video(tmp_path / "in.mkv", pix_fmt=pix_fmt, frames=4)
    options = {
        "none": ["--model", "none"],
        "strength": ["--model", make_network(tmp_path / "changes.safetensors"), "--strength", 0],
        "identity": ["--model", make_network(tmp_path / "identity.safetensors", identity=True)],
    }[bypass]
    assert encode(source, tmp_path / "out.mkv", *codec, *options) == 0
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))


@pytest.mark.parametrize(
    "planes,pix_fmt,colour",
    [
        ("luma", "yuv420p", (1, 1, 1, 1)),
        ("luma", "yuv420p10le", (9, 16, 9, 1)),
        ("yuv420", "yuv420p", (2, 2, 2, 2)),
        ("rgb", "yuv422p", (5, 6, 5, 1)),
    ],
)
def test_output_is_the_enhanced_source(tmp_path, planes, pix_fmt, colour):
    # A source with references and B-frames: writing into the decoder's own buffers would show here.
    lossy = {"preset": "medium", "crf": "30"}
    source = make_video(tmp_path / "in.mp4", codec="libx264", options=lossy, pix_fmt=pix_fmt, frames=12, colour=colour)
    weights = make_network(tmp_path / "net.safetensors", planes=planes)
    assert encode(source, tmp_path / "out.mkv", *X264, "--model", weights, "--strength", 0.5) == 0
    enhancer = Enhancer(load_model(weights), strength=0.5, device="cpu")
    fmt = PictureFormat(
        64,
        48,
        10 if "10" in pix_fmt else 8,
        pix_fmt[3:6],
        colour[3] == 2,
        {1: "bt709", 2: "bt601", 5: "bt601", 9: "bt2020"}[colour[2]],
    )
    before, after = decoded(source), decoded(tmp_path / "out.mkv")
    assert_same_times(before, after)
    changed = 0
    for a, b in zip(before, after, strict=True):
        (expected,) = enhancer([Picture(fmt, a.planes)])
        for want, got in zip(expected.planes, b.planes, strict=True):
            assert np.array_equal(want, got)
        changed += int((a.planes[0] != b.planes[0]).sum())
    assert changed > 1000


@pytest.mark.parametrize(
    "codec,crf,step,strength",
    # The usual CRF where none is given. Steps beyond the network's range are its ends. SVT-AV1's are a quarter of its
    # own (171 at CRF 60), at half strength.
    [
        (X264, 20, 6.3, 1.0),
        (X264, 38.5, 53.4, 1.0),
        (X264, None, 8.909, 1.0),
        (X265, None, 15.87, 1.0),
        (X265, 51, 60, 1.0),
        (SVT, None, 6.719, 0.5),
        (SVT, 60, 42.78, 0.5),
    ],
)
def test_a_network_that_is_told_the_quantiser_gets_that_of_the_crf(tmp_path, codec, crf, step, strength):
    source = make_video(tmp_path / "in.mkv", frames=3)
    weights = make_network(tmp_path / "net.safetensors", quantiser=(6, 60))
    options = [] if crf is None else ["--crf", crf]
    assert encode(source, tmp_path / "out.mkv", *codec, *options, "--model", weights) == 0
    before, after = decoded(source), decoded(tmp_path / "out.mkv")
    fmt = PictureFormat(64, 48, 8, "420", False, "bt601")
    right, wrong = (
        Enhancer(load_model(weights), device="cpu", step=conditioned, strength=strength)
        for conditioned in (step, step * 0.8)
    )
    differences = {"right": 0, "wrong": 0}
    for a, b in zip(before, after, strict=True):
        for name, enhancer in (("right", right), ("wrong", wrong)):
            (expected,) = enhancer([Picture(fmt, a.planes)])
            differences[name] += int((expected.planes[0] != b.planes[0]).sum())
    # The steps above have four digits.
    assert differences["right"] < 0.01 * 3 * 64 * 48
    assert differences["wrong"] > 0.1 * 3 * 64 * 48


def test_strength_zero_is_bit_exact_also_where_the_quantiser_is_told(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=3)
    weights = make_network(tmp_path / "net.safetensors", quantiser=(6, 60))
    assert encode(source, tmp_path / "out.mkv", *X264, "--model", weights, "--strength", 0) == 0
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))


def test_full_range_jpeg_pictures_stay_full_range(tmp_path):
    for codec in (X264, X265, SVT):
        source = make_video(tmp_path / "in.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=3, colour=(2, 2, 5, 2))
        assert encode(source, tmp_path / "out.mkv", *codec, "--model", "none", "-y") == 0
        assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))


@pytest.mark.parametrize("codec,size", [(X264, (66, 50)), (X265, (66, 50)), (SVT, (65, 49))])
@pytest.mark.parametrize("model", ["none", "identity"])
def test_odd_sizes(tmp_path, codec, size, model):
    source = make_video(tmp_path / "in.mkv", size=(65, 49), frames=3)
    if model == "identity":
        model = make_network(tmp_path / "identity.safetensors", identity=True)
    assert encode(source, tmp_path / "out.mkv", *codec, "--model", model) == 0
    before, after = decoded(source), decoded(tmp_path / "out.mkv")
    for a, b in zip(before, after, strict=True):
        assert b.planes[0].shape == size[::-1]
        assert np.array_equal(b.planes[0][:49, :65], a.planes[0])
        assert np.array_equal(b.planes[0][-1, :65], a.planes[0][-1])
        assert np.array_equal(b.planes[1], a.planes[1])


def test_odd_size_is_kept_without_subsampling(tmp_path):
    source = make_video(tmp_path / "in.mkv", size=(65, 49), frames=2, pix_fmt="yuv444p")
    assert encode(source, tmp_path / "out.mkv", *X264, "--model", "none") == 0
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))


def opaque(frame, index):
    """Texture in colour, and an alpha of which all is full."""
    textured(frame, index)
    layout = sample_layout(frame.format.name)
    plane = frame.planes[layout.alpha.plane]
    words = np.frombuffer(plane, layout.word).reshape(-1, plane.line_size // np.dtype(layout.word).itemsize)
    words[:, layout.alpha.first :: layout.alpha.step] = (1 << layout.bit_depth) - 1


def write_alpha(path, codec, pix_fmt, frames=3, seen_through=None):
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for index in range(frames):
            frame = av.VideoFrame(64, 48, pix_fmt)
            opaque(frame, index)
            if index == seen_through:
                alpha = sample_layout(pix_fmt).alpha
                np.frombuffer(frame.planes[alpha.plane], sample_layout(pix_fmt).word)[alpha.first] = 0
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    "name,codec,pix_fmt,encoder",
    [
        ("in.mkv", "ffv1", "bgra", "x264"),
        ("in.mov", "qtrle", "argb", "x264"),
        ("in.mov", "png", "rgba", "x265"),
        ("in.mkv", "ffv1", "yuva420p", "x264"),
        ("in.mkv", "ffv1", "yuva444p10le", "x264"),
        ("in.mkv", "ffv1", "gbrap10le", "x265"),
        ("in.mov", "png", "ya8", "x264"),
    ],
)
def test_an_alpha_in_which_all_is_opaque_is_left_behind(tmp_path, capfd, name, codec, pix_fmt, encoder):
    source = write_alpha(tmp_path / name, codec, pix_fmt)
    lossless = {"x264": "qp=0", "x265": "lossless=1"}[encoder]
    arguments = [source, tmp_path / "out.mkv", "--model", "none", "--codec", encoder, "--encoder-args", lossless]
    assert encode(*arguments) == 0, capfd.readouterr().err
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))


@pytest.mark.parametrize("index,position", [(0, ""), (2, " after 0.08 s")])
def test_a_pixel_that_is_seen_through_is_refused_where_it_is(tmp_path, capfd, index, position):
    source = write_alpha(tmp_path / "in.mkv", "ffv1", "bgra", seen_through=index)
    assert encode(source, tmp_path / "out.mkv", "--model", "none") == 3
    said = capfd.readouterr().err.splitlines()[-1]
    told = "pixel format bgra has an alpha channel, and not all is opaque; remove it first (format=gbrp)."
    assert said == f"scene: {source}{position}: {told}"
    assert list(tmp_path.iterdir()) == [source]


def test_a_gif(tmp_path):
    """Its decoder gives alpha in any case."""
    source = tmp_path / "in.gif"
    pattern = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.2"]
    find_ffmpeg().run([*pattern, "-frames:v", "5", str(source)])
    arguments = [source, tmp_path / "out.mkv", "--model", "none", "--encoder-args", "qp=0"]
    assert encode(*arguments) == 0
    before = decoded(source)
    assert len(before) == 5
    assert_same_pictures(before, decoded(tmp_path / "out.mkv"))
