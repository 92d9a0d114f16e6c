"""Sources at the edge of what there is: odd, tiny and narrow pictures, no frames, no permission, cut short."""

import os
from fractions import Fraction

import av
import pytest
from fuzz_server import NOBODY, run_forked
from making import MS, assert_same_pictures, assert_same_times, decoded, encode, make_network, make_video

LOSSLESS = {
    "x264": ["--codec", "x264", "--preset", "ultrafast", "--encoder-args", "qp=0"],
    "x265": ["--codec", "x265", "--preset", "ultrafast", "--encoder-args", "lossless=1"],
}


@pytest.mark.parametrize("codec", sorted(LOSSLESS))
@pytest.mark.parametrize("size", [(321, 181), (17, 17), (2, 2), (16, 8000), (8000, 16)])
def test_any_size_keeps_its_pictures(tmp_path, capfd, codec, size):
    """Odd sizes gain a line or a column, which a warning says; what x265 cannot code at all is refused by name."""
    source = make_video(tmp_path / "in.mkv", size=size, frames=3)
    weights = make_network(tmp_path / "net.safetensors", identity=True)
    code = encode(source, tmp_path / "out.mkv", *LOSSLESS[codec], "--model", weights)
    said = capfd.readouterr().err
    if codec == "x265" and min(size) < 16:
        assert code == 2 and f"{size[0]}x{size[1]}" in said
        assert not (tmp_path / "out.mkv").exists()
        return
    assert code == 0, said
    before, after = decoded(source), decoded(tmp_path / "out.mkv")
    width, height = (side + side % 2 for side in size)
    assert (f"make {width}x{height}" in said) == ((width, height) != size)
    assert after[0].planes[0].shape == (height, width)
    cropped = [
        type(shown)(
            shown.time, tuple(p[: q.shape[0], : q.shape[1]] for p, q in zip(shown.planes, b.planes, strict=True))
        )
        for shown, b in zip(after, before, strict=True)
    ]
    assert_same_pictures(before, cropped)
    assert_same_times(before, after)


@pytest.mark.parametrize("size", [(321, 181), (17, 17), (26, 1000), (1000, 26), (24, 64)])
def test_any_size_with_svtav1(tmp_path, size):
    source = make_video(tmp_path / "in.mkv", size=size, frames=3)
    assert encode(source, tmp_path / "out.mkv", "--codec", "svtav1", "--preset", "12", "--model", "none") == 0
    assert [shown.planes[0].shape for shown in decoded(tmp_path / "out.mkv")] == [size[::-1]] * 3


@pytest.mark.parametrize("size", [(2, 2), (16, 8000), (8000, 16), (24, 66)])
def test_sizes_that_svtav1_refuses_or_hangs_on(tmp_path, capfd, size):
    source = make_video(tmp_path / "in.mkv", size=size, frames=3)
    assert encode(source, tmp_path / "out.mkv", "--codec", "svtav1", "--preset", "12", "--model", "none") == 2
    assert f"{size[0]}x{size[1]}" in capfd.readouterr().err
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_video_without_frames(tmp_path, capfd, suffix):
    path = tmp_path / f"in{suffix}"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame("fltp", "stereo", 1024)
        frame.sample_rate, frame.pts = 48000, 0
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        out.start_encoding()
        out.mux(sound.encode(frame))
        out.mux(sound.encode())
    assert encode(path, tmp_path / "out.mkv", "--model", "none") == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert "no frame of its video can be decoded" in line or "has no video stream" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody without rights")
def test_a_file_that_may_not_be_read(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=2)
    source.chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001:
            break
        folder.chmod(0o755)
    (report,) = run_forked([("unreadable", ["encode", str(source), str(tmp_path / "out.mkv")])], user=NOBODY)
    assert report["code"] == 3
    assert report["messages"] == f"scene: {source} cannot be read: permission denied.\n"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_file_that_ends_too_soon(tmp_path, capfd, suffix, share):
    """Of an mp4 the index is lost with its end; a transport stream promises nothing, and so can lose its end unseen."""
    options = {"g": "5", "bf": "0"}
    codec, clock = ("libx264", MS) if suffix in {".mp4", ".mkv"} else ("mpeg2video", Fraction(1, 25))
    source = make_video(
        tmp_path / f"in{suffix}", codec=codec, frames=50, size=(160, 120), options=options, time_base=clock
    )
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * share)])
    code = encode(source, tmp_path / "out.mkv", "--model", "none", "--preset", "ultrafast")
    said = capfd.readouterr().err
    if suffix == ".ts" and code == 0:
        assert share > 0.02 and len(decoded(tmp_path / "out.mkv")) >= int(50 * share) - 3
        return
    assert code == 3, said
    assert not (tmp_path / "out.mkv").exists()
