"""What goes through a lossless encoder comes out as it went in, says the ffmpeg program; and the same each time."""

import subprocess
import sys

import av
import numpy as np
import pytest
from making import encode, make_network, make_video, packets

from scene.enhance import Enhancer
from scene.errors import MissingError
from scene.model import load_model
from scene.picture import Picture, PictureFormat
from scene.video.encoders import ENCODERS
from scene.video.ffmpeg import FFmpeg, find_ffmpeg
from scene.video.pixel_format import sample_layout, write_picture

LOSSLESS = {
    "x264": ["--codec", "x264", "--preset", "ultrafast", "--encoder-args", "qp=0"],
    "x265": ["--codec", "x265", "--preset", "ultrafast", "--encoder-args", "lossless=1"],
    "svtav1": ["--codec", "svtav1", "--preset", "10", "--encoder-args", "lossless=1"],
}


@pytest.fixture(scope="module")
def ffmpeg() -> FFmpeg:
    try:
        return find_ffmpeg()
    except MissingError as error:
        pytest.skip(str(error))


def sources() -> list[tuple[str, str]]:
    """Encoder and the planar form of each pixel format that it takes."""
    found = []
    for codec in (codec for codec in ENCODERS.values() if codec.has_trials):
        names = {fmt.name for fmt in av.Codec(codec.ffmpeg_name, "w").video_formats}
        if codec.name == "x264":
            names |= {fmt.name for fmt in av.Codec("libx264rgb", "w").video_formats}
        planar = {sample_layout(name).planar for name in names if not name.startswith("yuva")}
        found += [(codec.name, name) for name in sorted(planar)]
    return found


def frame_hashes(ffmpeg: FFmpeg, path, pix_fmt: str) -> list[str]:
    # Grey H.264 is decoded with two neutral planes, and swscale takes grey for full range: only luma is compared.
    grey = ["-vf", "extractplanes=y"] if pix_fmt.startswith("gray") else ["-pix_fmt", pix_fmt]
    command = [
        str(ffmpeg.path),
        "-v",
        "error",
        "-i",
        str(path),
        *grey,
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split(",")[-1].strip() for line in done.stdout.splitlines() if not line.startswith("#")]


def lossless_source(folder, pix_fmt: str):
    """Three frames, whose sides are no multiple of the sizes that encoders and networks work in."""
    # FFV1 has no planar form of 8-bit RGB, and Matroska no other codec of it.
    name, codec = ("plain.avi", "utvideo") if pix_fmt == "gbrp" else ("plain.mkv", "ffv1")
    return make_video(folder / name, size=(70, 38), pix_fmt=pix_fmt, codec=codec, frames=3)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    made = {
        planes: make_network(folder / f"{planes}.safetensors", planes=planes, identity=True)
        for planes in ("luma", "rgb", "yuv420")
    }
    return made | {"changes": make_network(folder / "changes.safetensors")}


@pytest.mark.parametrize("codec,pix_fmt", sources())
def test_every_format_of_every_encoder_comes_out_as_it_went_in(tmp_path, ffmpeg, networks, codec, pix_fmt):
    source = lossless_source(tmp_path, pix_fmt)
    before = frame_hashes(ffmpeg, source, pix_fmt)
    assert len(set(before)) == 3
    bypasses = [["none"], [networks["changes"], "--strength", 0], [networks["luma"]], [networks["rgb"]]]
    if "420" in pix_fmt:
        bypasses.append([networks["yuv420"]])
    for bypass in bypasses:
        assert encode(source, tmp_path / "out.mkv", "-y", *LOSSLESS[codec], "--model", *bypass) == 0
        assert frame_hashes(ffmpeg, tmp_path / "out.mkv", pix_fmt) == before, bypass


@pytest.mark.parametrize(
    "pix_fmt,planar",
    [
        ("nv12", "yuv420p"),
        ("yuyv422", "yuv422p"),
        ("uyvy422", "yuv422p"),
        ("rgb24", "gbrp"),
        ("bgr24", "gbrp"),
    ],
)
@pytest.mark.parametrize("model", ["none", "luma"])
def test_packed_sources_come_out_planar(tmp_path, ffmpeg, networks, pix_fmt, planar, model):
    plain = lossless_source(tmp_path, planar)
    source = tmp_path / "in.nut"
    command = [str(ffmpeg.path), "-v", "error", "-i", str(plain), "-c:v", "rawvideo", "-pix_fmt", pix_fmt, str(source)]
    subprocess.run(command, check=True)
    with av.open(str(source)) as file:
        assert file.streams.video[0].pix_fmt == pix_fmt
    weights = networks.get(model, model)
    assert encode(source, tmp_path / "out.mkv", *LOSSLESS["x265"], "--model", weights) == 0
    assert frame_hashes(ffmpeg, tmp_path / "out.mkv", planar) == frame_hashes(ffmpeg, plain, planar)


def test_one_frame_at_a_time_or_several_give_the_same(networks):
    rng = np.random.default_rng(3)
    for fmt in (PictureFormat(70, 38), PictureFormat(70, 38, 10, "422")):
        dtype = np.uint8 if fmt.bit_depth == 8 else np.uint16
        pictures = [
            Picture(fmt, tuple(rng.integers(0, 2**fmt.bit_depth, shape).astype(dtype) for shape in fmt.plane_shapes))
            for _ in range(5)
        ]
        enhancer = Enhancer(load_model(networks["changes"]), device="cpu")
        together = enhancer(pictures)
        alone = [enhancer([picture])[0] for picture in pictures]
        assert not np.array_equal(together[0].planes[0], pictures[0].planes[0])
        for one, other in zip(alone, together, strict=True):
            # Float sums are ordered by the size of the batch, which moves what lies halfway between two codes.
            difference = np.abs(one.planes[0].astype(int) - other.planes[0].astype(int))
            assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


# Encodes a clip again and again beside memory that holds something else each time, as frames and tensors leave it.
_REPEATED = """
import sys
from pathlib import Path
import numpy as np
from scene.jobs.encode import EncodeRequest, encode
from scene.options import EnhanceOptions
from scene.video.encoders.settings import EncoderSettings
source, folder, codec, preset = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
kept = []
for index in range(3):
    rng = np.random.default_rng(index)
    left = [rng.integers(0, 256, int(rng.integers(1000, 2_000_000)), np.uint8) for _ in range(100)]
    kept.append([np.zeros(40) for _ in range(100)] + left[-1:])
    del left
    settings = EncoderSettings(codec, preset=preset)
    encode(EncodeRequest(source, folder / f"{index}.mkv", settings, EnhanceOptions("none")))
"""


@pytest.mark.parametrize("codec,preset", [("x264", "medium"), ("x265", "ultrafast"), ("svtav1", "10")])
def test_the_same_input_gives_the_same_packets_whatever_memory_holds(tmp_path, monkeypatch, codec, preset):
    # 854 is no multiple of eight macroblocks, where x264's AVX-512 code reads behind a row.
    source = tmp_path / "in.mkv"
    y, x = np.mgrid[:120, :854]
    noise = np.random.default_rng(5).normal(0, 6, y.shape) * (np.sin((x + y) / 90) > 0)
    with av.open(str(source), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 854, 120, "yuv420p"
        for index in range(30):
            moving = (
                128 + 60 * np.sin((x + 3 * index) / 23) * np.cos((y + index) / 31) + 20 * np.sin(x * y / 5000 + index)
            )
            luma = np.clip(moving + noise, 0, 255).astype(np.uint8)
            grey = np.full((60, 427), 128, np.uint8)
            frame = av.VideoFrame(854, 120, "yuv420p")
            write_picture(frame, Picture(PictureFormat(854, 120), (luma, grey, grey)))
            frame.pts = index
            out.mux(video.encode(frame))
        out.mux(video.encode())
    # Large blocks come from memory that was used before rather than, empty, from the system.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "100000000")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000000")
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        command = [sys.executable, "-c", _REPEATED, str(source), str(tmp_path / run), codec, preset]
        subprocess.run(command, check=True)
    coded = [packets(path, "video") for run in ("first", "second") for path in sorted((tmp_path / run).iterdir())]
    assert len(coded) == 6 and len(coded[0]) == 30
    assert all(other == coded[0] for other in coded)
