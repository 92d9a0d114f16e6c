"""`scene encode --target`, and many sources: search and encode in one, each file by itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import av
import pytest
from making import encode, make_network, make_video
from skimage import data

import scene
from scene.cli import run
from scene.jobs.batch.destinations import destinations
from scene.training.data.pan import pan

SIZE = (384, 256)
FAST = ("--preset", "ultrafast", "--model", "none")


def make_clip(path: Path, photo=None, frames: int = 12) -> Path:
    """A slow pan over a photograph, with sound."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for image in pan(data.astronaut() if photo is None else photo, frames, *SIZE, seed=1):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mkv")


def made_with(path: Path) -> str:
    with av.open(str(path)) as file:
        tags = {key.lower(): value for key, value in file.metadata.items()}
    return next(value for value in (*tags.values(),) if value.startswith("scene "))


def test_the_file_is_encoded_with_the_crf_that_the_search_finds(clip, tmp_path, capfd):
    out = tmp_path / "out.mkv"
    assert encode(clip, out, "--target", "vmaf-neg=88", *FAST, "--log-format", "json") == 0
    stdout, err = capfd.readouterr()
    assert stdout == ""
    lines = [json.loads(line) for line in err.splitlines()]
    assert {line["task"] for line in lines if line["event"] == "progress"} == {"search", "encode"}
    last = lines[-1]
    assert last["event"] == "result" and last["search"]["met"] and last["search"]["targets"] == {"vmaf_neg": 88.0}
    assert run(["search", str(clip), "--target", "vmaf-neg=88", *FAST, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert last["search"]["unprocessed"] == found["unprocessed"]
    assert f"; crf {found['unprocessed']['crf']:g};" in made_with(out)
    assert run(["compare", str(clip), str(out), "--json"]) == 0
    measured = json.loads(capfd.readouterr().out)["points"][0]["vmaf_neg"]
    # The very next CRF that x264 knows here fails.
    assert measured >= 88 - 0.1
    assert (
        min(
            p["scores"]["vmaf_neg"]
            for p in found["unprocessed"]["probes"]
            if p["crf"] > last["search"]["unprocessed"]["crf"]
        )
        < 88
    )


def test_a_model_that_does_not_pay_is_left_out_and_this_is_said_first(clip, tmp_path, capfd):
    same = make_network(tmp_path / "same.safetensors", identity=True)
    out = tmp_path / "out.mp4"
    arguments = ("--target", "vmaf-neg=85", "--preset", "ultrafast", "--model", same, "--device", "cpu")
    assert encode(clip, out, *arguments) == 0
    lines = capfd.readouterr().err.splitlines()
    said = lines.index("scene: At equal VMAF NEG this video needs as many bits as without.")
    assert lines[said + 1] == "scene: So enhancement is left out."
    found = re.fullmatch(
        r"scene: Encoded with CRF ([\d.]+), of which the search expects VMAF NEG ([\d.]+) at \d+ kbit/s.",
        lines[said + 2],
    )
    assert found is not None and float(found[2]) >= 85 and f"; crf {found[1]};" in made_with(out)
    assert lines[-1].startswith(f"scene: {out}: 12 frames in ") and "model none" in lines[-1]
    assert "; model none;" in made_with(out)


def test_the_targets_that_cannot_be_reached_leave_no_file(clip, tmp_path, capfd):
    out = tmp_path / "out.mkv"
    assert encode(clip, out, "--target", "vmaf-neg=90", "--max-kbps", 300, *FAST) == 5
    err = capfd.readouterr().err
    assert "at 300 kbit/s VMAF NEG reaches " in err and "give --best-effort" in err
    assert list(tmp_path.iterdir()) == []
    assert encode(clip, out, "--target", "vmaf-neg=90", "--max-kbps", 300, *FAST, "--best-effort") == 0
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--crf", 20), 2, "--crf and --target exclude each other"),
        (("--bitrate", 900), 2, "--bitrate and --target exclude each other"),
        (("--guard",), 2, "leave --guard out"),
        (("--deinterlace",), 2, "leave --deinterlace out"),
        (("--allow-network",), 2, "leave --allow-network out"),
        (("--focus", 0.5), 2, "leave --focus out"),
        (("--encoder-args", "qp=20"), 2, "--encoder-args qp=20 leaves nothing to search"),
        (("--codec", "nvenc-h264"), None, ""),
        (("--samples", 0), 2, "--samples must be at least 1"),
        (("--target", "ssim=3"), 2, "not a metric that can be asked for"),
    ],
)
def test_what_a_search_does_not_go_with(clip, tmp_path, capfd, arguments, code, said):
    got = encode(clip, tmp_path / "out.mkv", "--target", "vmaf-neg=90", *arguments)
    assert got in {2, 6} if code is None else got == code
    assert said in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [("--max-kbps", 900), ("--samples", 2), ("--sample-seconds", 1), ("--best-effort",)])
def test_options_of_a_search_need_a_target(clip, tmp_path, capfd, option):
    assert encode(clip, tmp_path / "out.mkv", *option) == 2
    assert f"{option[0]} belongs to --target" in capfd.readouterr().err


def test_what_the_encode_would_refuse_is_refused_before_the_search(tmp_path, capfd, clip):
    sound = make_video(tmp_path / "sound.mkv", size=SIZE, audio="pcm_s16le", subtitles=True)
    for out, said in (
        ("out.webm", "webm files cannot hold x264 video"),
        ("out.ts", "cannot hold stream 1 (pcm_s16le audio)"),
        ("no/such.mkv", "the folder"),
        ("sound.mkv", "is the source itself"),
    ):
        assert encode(sound, tmp_path / out, "--target", "vmaf-neg=40", *FAST) == 2
        err = capfd.readouterr().err
        assert said in err and "CRF" not in err
    # What is lost is said once, by the encode.
    assert encode(sound, tmp_path / "out.mp4", "--target", "vmaf-neg=10", *FAST, "--map", "v", "--map", "s") == 0
    assert capfd.readouterr().err.count("loses its styling") == 1
    assert encode(sound, tmp_path / "out.mp4", "--target", "vmaf-neg=10", *FAST) == 2
    assert "exists; give --overwrite" in capfd.readouterr().err


def test_another_video_than_the_samples_are_of_is_refused(tmp_path, capfd, clip):
    two = tmp_path / "two.mkv"
    with av.open(str(clip)) as source, av.open(str(two), "w") as out:
        streams = [out.add_stream_from_template(source.streams.video[0]) for _ in range(2)]
        for packet in source.demux(video=0):
            if packet.size:
                content = bytes(packet)
                for stream in streams:
                    copy = av.Packet(content)
                    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                    copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                    out.mux(copy)
    assert encode(two, tmp_path / "out.mkv", "--target", "vmaf-neg=40", *FAST, "--map", "v:1") == 2
    assert "--target is found on stream 0:0, and --map chooses another video" in capfd.readouterr().err


def test_many_sources_go_into_a_folder_each_by_itself(tmp_path, capfd):
    first = make_video(tmp_path / "first.mp4", codec="libx264")
    second = make_video(tmp_path / "second.mkv")
    third = make_video(tmp_path / "third.avi", codec="mpeg4")
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(second.read_bytes()[:-500])
    out = tmp_path / "out"
    out.mkdir()
    (out / "third.mkv").write_text("mine")
    assert encode(first, torn, tmp_path / "none.mkv", third, second, out, "--model", "none") == 1
    lines = capfd.readouterr().err.splitlines()
    assert sorted(path.name for path in out.iterdir()) == ["first.mp4", "second.mkv", "third.mkv"]
    assert (out / "third.mkv").read_text() == "mine"
    assert f"scene: {first} (1 of 5)" in lines and f"scene: {second} (5 of 5)" in lines
    assert any("error" in line and "none.mkv does not exist" in line for line in lines)
    assert any("error" in line and "exists; give --overwrite" in line for line in lines)
    assert lines[-1] == (f"scene: 3 of 5 files failed: {torn}; {tmp_path / 'none.mkv'}; {third} (reasons above).")
    # One file into a folder, which needs no list.
    assert encode(second, out, "--model", "none", "-y") == 0


def test_targets_of_many_sources(clip, tmp_path, capfd):
    hard = tmp_path / "hard.mkv"
    hard.write_bytes(clip.read_bytes())
    small = make_video(tmp_path / "small.mkv", frames=2)
    out = tmp_path / "out"
    out.mkdir()
    assert encode(small, hard, out, "--target", "vmaf-neg=85", *FAST) == 1
    err = capfd.readouterr().err
    assert "pictures of 64x48 are too small" in err and f"1 of 2 files failed: {small} " in err
    assert [path.name for path in out.iterdir()] == ["hard.mkv"]


def test_names_that_meet_are_refused_before_anything_is_done(tmp_path, capfd):
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    one = make_video(a / "x.mkv")
    for other in ("x.mkv", "X.MKV", "x.avi"):
        same = make_video(b / other, codec="mpeg4")
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        assert encode(one, same, out, "--model", "none") == 2
        assert "would both become" in capfd.readouterr().err
        assert list(out.iterdir()) == []
        same.unlink()
    # Twice the same, a folder that holds a source, and no folder.
    assert encode(one, one, tmp_path / "out", "--model", "none") == 2
    capfd.readouterr()
    content = one.read_bytes()
    other = make_video(b / "y.mkv")
    for destination in (a, b):
        assert encode(one, other, destination, "--model", "none", "-y") == 2
        assert "is a source itself" in capfd.readouterr().err
    assert one.read_bytes() == content
    assert encode(one, other, tmp_path / "out.mkv", "--model", "none") == 2
    assert "is not a folder, and 2 sources need one" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "codec", "becomes"),
    [
        ("a.mp4", "x264", "a.mp4"),
        ("a.MOV", "x265", "a.MOV"),
        ("a.mov", "svtav1", "a.mkv"),
        ("a.webm", "x264", "a.mkv"),
        ("a.m2ts", "x264", "a.mkv"),
        ("a.b.avi", "x264", "a.b.mkv"),
        ("a", "x264", "a.mkv"),
    ],
)
def test_names_in_a_folder(tmp_path, name, codec, becomes):
    assert destinations([Path(name)], tmp_path, codec) == [tmp_path / becomes]
    file = tmp_path / "file.mkv"
    assert destinations([Path(name)], file, codec) == [file]


def test_from_python(clip, tmp_path):
    settings = scene.EncoderSettings("x264", preset="ultrafast")
    wanted = scene.EncodeRequest(clip, tmp_path / "out.mkv", settings, scene.EnhanceOptions("none"))
    made = scene.encode_to_target(scene.TargetEncodeRequest(wanted, (scene.Target("vmaf_neg", 85.0),)))
    assert made.found.chosen.measured.scores["vmaf_neg"] >= 85
    assert made.encoded.bytes == (tmp_path / "out.mkv").stat().st_size
