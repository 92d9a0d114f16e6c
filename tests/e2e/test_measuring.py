"""Real encodes and a real libvmaf on tiny clips: scores, the grid, its cache, and what goes wrong."""

import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from pan_clip import write_pan

import scene
from scene.cli import run
from scene.errors import InputError, MissingError, SceneError, VerificationError
from scene.evaluation.grid import local as workers
from scene.evaluation.grid import tasks as work
from scene.evaluation.grid.grid import Grid, Measured, measure_grid
from scene.evaluation.grid.methods import parse_method, parse_methods
from scene.evaluation.grid.variant import make_variant
from scene.evaluation.report.markdown import results_markdown
from scene.evaluation.report.results import make_report, results_document, results_json
from scene.evaluation.report.summary import clip_rows, mean_rows
from scene.measure.cache import Measurement, PointCache
from scene.measure.clip import Recipe, make_reference, open_clips
from scene.measure.encode import codec_run, encoder_settings
from scene.measure.point import compare, measure_point
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.model import NetworkConfig, build_network, save_network
from scene.progress import Progress
from scene.video.encoders import ENCODERS, find_encoder
from scene.video.encoding.isolated import encode_isolated, encoder_version, end_idle
from scene.video.ffmpeg import FFmpeg, ProcessError, StoppedError, find_ffmpeg, has_filter, input_name
from scene.video.rawvideo.y4m import read_frames, read_header


def raw(path: Path) -> RawVideo:
    return count_raw_video(path, "bt601")


def test_an_identical_clip_scores_at_the_top(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    scores = compare(ffmpeg, pan, raw(pan), folder=tmp_path).scores
    assert scores.frames == 12
    assert scores.vmaf >= 97
    assert scores.vmaf_clipped <= 100
    assert scores.vmaf_neg >= 97
    assert scores.vmaf_v1 >= 97
    assert scores.ms_ssim == pytest.approx(1)
    assert scores.psnr_y >= 60


def test_a_shift_of_one_frame_is_noticed(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    late = write_pan(tmp_path / "late.y4m", 12, first=1)
    assert compare(ffmpeg, late, raw(pan), folder=tmp_path).scores.vmaf < 60


@pytest.mark.parametrize("frames", [9, 15])
def test_a_lost_or_added_frame_is_an_error(ffmpeg: FFmpeg, pan: Path, tmp_path: Path, frames: int) -> None:
    other = write_pan(tmp_path / "other.y4m", frames)
    with pytest.raises(VerificationError, match=f"{frames} frames came out"):
        compare(ffmpeg, other, raw(pan), folder=tmp_path)


def test_the_private_folder_may_have_any_name(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a'b:c,d;e[f]\\g %03d"
    folder.mkdir()
    assert compare(ffmpeg, pan, raw(pan), folder=folder).scores.frames == 12


def test_pictures_too_small_for_libvmaf_are_an_error(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.y4m"
    ffmpeg.run(["-i", input_name(pan), "-vf", "scale=64:64", "-f", "yuv4mpegpipe", input_name(small)])
    with pytest.raises(SceneError, match=r"no scores|ended with|cannot be read"):
        compare(ffmpeg, small, raw(small), folder=tmp_path)


def test_unsharp_raises_vmaf_more_than_neg(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    reference = raw(pan)
    sharp = make_variant(ffmpeg, parse_method("unsharp:1.0"), reference, tmp_path / "sharp.y4m")
    run = codec_run("x264")
    plain_scores, sharp_scores = (
        measure_point(ffmpeg, reference, video, run, 32, 50, folder=tmp_path).scores for video in (reference, sharp)
    )
    gain, gain_neg = (getattr(sharp_scores, name) - getattr(plain_scores, name) for name in ("vmaf", "vmaf_neg"))
    assert gain > 3
    assert gain_neg < gain - 3


@pytest.mark.parametrize("codec", [name for name, encoder in ENCODERS.items() if encoder.measured_crfs])
def test_every_codec_keeps_every_frame(ffmpeg: FFmpeg, pan: Path, tmp_path: Path, codec: str) -> None:
    crf = 45 if codec == "svtav1" else 36
    point = measure_point(ffmpeg, raw(pan), raw(pan), codec_run(codec), crf, 50, folder=tmp_path)
    assert point.scores.frames == 12
    assert 500 < point.bytes < 40_000
    assert 30 < point.scores.vmaf < 110
    assert encoder_version(codec) != "unknown"


def coded_units(path: Path, codec: str) -> list[bytes]:
    """What codes pictures in a video: units of H.264 and HEVC that are neither parameter sets, delimiters nor
    messages; of AV1 whole packets without delimiters."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    if codec == "svtav1":
        return [packet.removeprefix(b"\x12\x00") for packet in packets]
    units: list[bytes] = []
    for packet in packets:
        if path.suffix != ".mkv":
            units += [unit for unit in re.split(rb"\x00*\x00\x00\x01", packet) if unit]
            continue
        while packet:
            length = 4 + int.from_bytes(packet[:4], "big")
            units.append(packet[4:length])
            packet = packet[length:]
    kind = {"x264": lambda first: first & 31 <= 5, "x265": lambda first: first >> 1 & 63 <= 31}
    return [unit for unit in units if kind[codec](unit[0])]


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_a_point_is_what_encode_makes_with_the_printed_settings(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path, codec: str
) -> None:
    settings = encoder_settings(codec_run(codec), 33, 5)
    stream = tmp_path / f"stream.{find_encoder(codec).raw_muxer}"
    encode_isolated(pan, stream, settings, ffmpeg.stop)
    whole = tmp_path / "whole.mkv"
    arguments = ["--model", "none", "--codec", codec, "--preset", settings.preset or "", "--crf", "33"]
    assert run(["encode", str(pan), str(whole), *arguments, "--encoder-args", settings.encoder_args]) == 0
    assert coded_units(stream, codec) == coded_units(whole, codec)
    with av.open(str(stream)) as one, av.open(str(whole)) as other:
        pairs = list(zip(one.decode(video=0), other.decode(video=0), strict=True))
    assert len(pairs) == 12
    assert all((a.to_ndarray() == b.to_ndarray()).all() for a, b in pairs)
    # The rate is that of the stream: no message is in it.
    data = stream.read_bytes()
    assert measure_point(ffmpeg, raw(pan), raw(pan), codec_run(codec), 33, 5, folder=tmp_path).bytes == len(data)
    assert b"options:" not in data


def children() -> list[int]:
    """Processes that this one started."""
    return [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]


@pytest.mark.parametrize("codec", ["x264", "vvenc"])
def test_an_encoder_that_is_stopped_or_dies_costs_one_encode(ffmpeg: FFmpeg, tmp_path: Path, codec: str) -> None:
    long = tmp_path / "long.y4m"
    ffmpeg.run(["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25:duration=20", "-pix_fmt", "yuv420p", str(long)])
    preset = "placebo" if codec == "x264" else "slower"
    settings = encoder_settings(codec_run(codec, preset=preset), 20, 50)
    stop, seen = threading.Event(), []
    # Those of earlier tests wait for work, too.
    end_idle()
    with ThreadPoolExecutor(1) as pool:
        encode = pool.submit(encode_isolated, long, tmp_path / f"s.{find_encoder(codec).raw_muxer}", settings, stop)
        time.sleep(1.5)
        began = time.monotonic()
        stop.set()
        seen.append(type(encode.exception(timeout=60)))
        assert time.monotonic() - began < 5
        if codec == "x264":
            encode = pool.submit(encode_isolated, long, tmp_path / "s.h264", settings, threading.Event())
            time.sleep(1.5)
            (victim,) = [pid for pid in children() if b"isolated" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            os.kill(victim, signal.SIGKILL)
            failure = encode.exception(timeout=60)
            assert str(failure) == "the process of x264 was killed by signal 9"
            seen.append(type(failure))
    assert seen == [StoppedError, ProcessError][: len(seen)]


def test_contrast_and_a_network_reach_the_pictures(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    weights = tmp_path / "identity.safetensors"
    save_network(build_network(NetworkConfig(guidance="features", planes="luma", channels=8)), weights)
    reference = raw(pan)
    before = first_luma(reference)
    contrast = make_variant(ffmpeg, parse_method("contrast:1.5"), reference, tmp_path / "c.y4m")
    expected = ((before.astype(float) - 128) * 1.5 + 128).clip(0, 255)
    assert abs(expected - first_luma(contrast)).max() <= 0.5
    # A network that predicts a change is the identity before training.
    same = make_variant(ffmpeg, parse_method(str(weights)), reference, tmp_path / "n.y4m", device="cpu")
    assert (first_luma(same) == before).all()
    assert make_variant(ffmpeg, parse_method("none"), reference, tmp_path / "unused.y4m") is reference


def first_luma(video: RawVideo):
    with video.path.open("rb") as stream:
        header = read_header(stream)
        return next(read_frames(stream, header)).planes[0]


def test_a_reference_is_halved_limited_and_counted(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    source = tmp_path / "full.mkv"
    options = ["-vf", "scale=642:386:out_range=pc", "-color_range", "pc", "-c:v", "libx264", "-crf", "5"]
    ffmpeg.run(["-i", input_name(pan), *options, input_name(source)])
    (clip,) = open_clips([source])
    made = make_reference(ffmpeg, clip, Recipe(frames=5, halve_above=300), tmp_path / "r.y4m")
    fmt = made.header.format
    assert (fmt.width, fmt.height, made.frames, made.header.rate) == (320, 192, 5, 25)
    difference = first_luma(made).astype(float) - first_luma(raw(pan)).astype(float)
    assert abs(difference.mean()) < 1


def test_ten_bit_stays_ten_bit(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    source = tmp_path / "deep.mkv"
    options = ["-pix_fmt", "yuv422p10le", "-c:v", "libx265", "-x265-params", "log-level=error"]
    ffmpeg.run(["-i", input_name(pan), *options, input_name(source)])
    (clip,) = open_clips([source])
    made = make_reference(ffmpeg, clip, Recipe(frames=3), tmp_path / "r.y4m")
    assert (made.header.format.bit_depth, made.header.format.chroma) == (10, "420")
    variant = make_variant(ffmpeg, parse_method("contrast"), made, tmp_path / "v.y4m")
    point = measure_point(ffmpeg, made, variant, codec_run("x265"), 30, 50, folder=tmp_path)
    assert point.bit_depth == 10


def small_grid(pan: Path, **changes: object) -> Grid:
    grid = Grid(
        open_clips([pan]),
        Recipe(frames=6),
        parse_methods(["contrast"]),
        (codec_run("x264", preset="veryfast", crfs=(20, 27, 34, 41)),),
    )
    return replace(grid, **changes)


@pytest.fixture(scope="module")
def measured(ffmpeg: FFmpeg, pan: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, Measured, Path]:
    folder = tmp_path_factory.mktemp("cache")
    grid = small_grid(pan)
    return grid, measure_grid(grid, ffmpeg, PointCache(folder), jobs=2), folder


def test_the_grid_is_whole_and_gives_bd_rates(measured: tuple[Grid, Measured, Path]) -> None:
    grid, result, _ = measured
    assert [(p.method.label, p.crf) for p in result.points] == [
        (label, crf) for label in ("none", "contrast") for crf in (20, 27, 34, 41)
    ]
    rates = [point.kbps for point in result.points[:4]]
    assert rates == sorted(rates, reverse=True)
    assert result.points[0].kbps == pytest.approx(result.points[0].measurement.bytes * 8 / (6 / 25) / 1000)
    means = {row.metric: row for row in mean_rows(clip_rows(result))}
    assert means["vmaf"].percent is not None and means["vmaf"].percent < -5
    against = clip_rows(result, anchor="contrast")
    assert {row.method for row in against} == {"none"}
    assert next(row.percent for row in against if row.metric == "vmaf") > 5
    assert len(grid.methods) == 2


def test_the_results_file_keeps_its_contract(measured: tuple[Grid, Measured, Path], ffmpeg: FFmpeg) -> None:
    grid, result, _ = measured
    report = make_report(grid, result, ffmpeg, command="scene evaluate pan.y4m")
    document = json.loads(results_json(report))
    assert document["format"] == 1
    assert {"scene", "ffmpeg", "command", "clips", "methods", "codecs"} <= set(document["environment"])
    assert len(document["points"]) == 8
    for point in document["points"]:
        assert {"clip", "codec", "method", "crf", "frames", "kbps", "bytes", "fps", "width", "height"} <= set(point)
        assert {"vmaf", "vmaf_clipped", "vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y"} <= set(point)
    assert [row["clip"] for row in document["bd_rate"]] == ["pan.y4m"] * 6 + ["mean"] * 6
    for row in document["bd_rate"]:
        assert {"codec", "method", "anchor", "metric", "percent", "overlap", "note"} <= set(row)
        assert row["anchor"] == "none"
    text = results_markdown(results_document(report))
    assert "| x264 | contrast |" in text
    assert "scene evaluate pan.y4m" in text


def test_a_second_call_does_no_work(
    measured: tuple[Grid, Measured, Path], ffmpeg: FFmpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, first, folder = measured

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr(workers, "make_reference", forbidden)
    monkeypatch.setattr(work, "measure_point", forbidden)
    monkeypatch.setattr(work, "measure_effect", forbidden)
    assert measure_grid(grid, ffmpeg, PointCache(folder)) == first


def test_a_damaged_entry_is_measured_again(measured: tuple[Grid, Measured, Path], ffmpeg: FFmpeg) -> None:
    grid, first, folder = measured
    entries = sorted(folder.rglob("*.json"))
    # Eight points and the treatment of contrast.
    assert len(entries) == 9
    entries[0].write_text(entries[0].read_text()[:100])
    entries[1].write_text(entries[1].read_text().replace('"measured"', '"other"'))
    readings: list[Progress] = []
    again = measure_grid(grid, ffmpeg, PointCache(folder), on_progress=readings.append)
    assert readings[0].fields["cached"] == 7
    assert again == first


def test_other_settings_are_other_points(measured: tuple[Grid, Measured, Path], ffmpeg: FFmpeg) -> None:
    grid, _, folder = measured
    readings: list[Progress] = []
    other = replace(grid, recipe=Recipe(frames=5), codecs=(codec_run("x264", crfs=(40,)),))
    measure_grid(other, ffmpeg, PointCache(folder), on_progress=readings.append)
    assert (readings[0].done, readings[-1].done) == (0, 3)


def test_a_failing_point_is_tried_twice_and_loses_nothing_else(
    pan: Path, ffmpeg: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    def flaky(*arguments: object, **options: object) -> Measurement:
        crf = float(str(arguments[4]))
        tries.append(crf)
        if crf == 27 or (crf == 34 and tries.count(34) == 1):
            raise VerificationError("5 frames came out of the encoder and 6 went in")
        return measure_point(*arguments, **options)  # type: ignore[arg-type]

    grid = small_grid(pan, methods=parse_methods(["none"]))
    with monkeypatch.context() as patch:
        patch.setattr(work, "measure_point", flaky)
        result = measure_grid(grid, ffmpeg, PointCache(tmp_path))
    assert [point.crf for point in result.points] == [20, 34, 41]
    assert [(failure.crf, failure.method) for failure in result.failures] == [(27, "none")]
    assert tries.count(27) == 2
    readings: list[Progress] = []
    later = measure_grid(grid, ffmpeg, PointCache(tmp_path), on_progress=readings.append)
    assert readings[0].fields["cached"] == 3
    assert (len(later.points), later.failures) == (4, ())


def test_a_clip_that_cannot_be_decoded_loses_only_itself(
    pan: Path, ffmpeg: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (good,) = open_clips([pan])
    bad = replace(good, path=tmp_path / "gone.y4m", name="gone.y4m", sha256="0")
    grid = small_grid(pan, clips=(bad, good), codecs=(codec_run("x264", crfs=(40,)),))
    result = measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"))
    assert {failure.clip for failure in result.failures} == {"gone.y4m"}
    assert {point.clip.name for point in result.points} == {"pan.y4m"}


def test_a_device_that_is_not_there_ends_it(pan: Path, ffmpeg: FFmpeg, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    weights = tmp_path / "tiny.safetensors"
    save_network(build_network(NetworkConfig(guidance="features", planes="luma", channels=8)), weights)
    grid = small_grid(pan, methods=parse_methods([str(weights)]), codecs=(codec_run("x264", crfs=(40,)),))
    with pytest.raises(MissingError, match="CUDA"):
        measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"), device="cuda")


def test_clips_are_looked_at_before_anything_else(pan: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_clips([pan, tmp_path / "missing.mp4"])
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile {pan}\n")
    with pytest.raises(InputError):
        open_clips([playlist])
    twin = write_pan(tmp_path / "pan.y4m", 3)
    names = [clip.name for clip in open_clips([pan, twin, pan])]
    assert len(names) == 2
    assert all(name.startswith("pan.y4m@") for name in names)


def test_a_program_that_is_not_ffmpeg_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        find_ffmpeg(tmp_path / "nothing")
    fake = tmp_path / "fake"
    fake.write_text("#!/bin/sh\necho hello\n")
    fake.chmod(0o755)
    with pytest.raises(MissingError, match="is not ffmpeg"):
        find_ffmpeg(fake)


def test_filters_are_found_by_name(ffmpeg: FFmpeg) -> None:
    assert has_filter(ffmpeg, "libvmaf")
    assert not has_filter(ffmpeg, "no_such_filter")


def test_the_library_evaluates_in_one_call(pan: Path, tmp_path: Path) -> None:
    request = scene.EvaluationRequest(
        clips=(pan,),
        models=("contrast",),
        codecs=("x264",),
        crf=(20.0, 27.0, 34.0, 41.0),
        preset="veryfast",
        frames=3,
        cache=tmp_path / "cache",
    )
    result = scene.evaluate(request)
    assert [method.label for method in result.report.grid.methods] == ["none", "contrast"]
    assert (len(result.report.measured.points), result.report.measured.failures, result.files) == (8, (), ())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]
