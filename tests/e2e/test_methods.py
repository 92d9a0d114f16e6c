"""Methods and raw clips with real encoders: raw samples, VVenC, tuned filters, SVT-AV1's tune, programs as filters."""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scene.errors import MissingError, VerificationError
from scene.evaluation.grid.grid import Grid, measure_grid
from scene.evaluation.grid.methods import NONE, SVTAV1_VMAF, Method, has_vmaf_tune, parse_filter, parse_methods
from scene.evaluation.grid.variant import make_variant
from scene.evaluation.report.summary import clip_rows
from scene.evaluation.tuning import CANDIDATES, tune
from scene.measure.cache import PointCache
from scene.measure.clip import Recipe, make_reference, open_clips
from scene.measure.encode import codec_run, encoder_settings
from scene.measure.point import decode_arguments, measure_point
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.picture import Picture
from scene.progress import Progress
from scene.video.encoding.isolated import encode_isolated, encoder_version
from scene.video.ffmpeg import FFmpeg, ProcessError, StoppedError, input_name
from scene.video.rawvideo.y4m import read_frames, read_header


def pictures(path: Path) -> list[Picture]:
    with path.open("rb") as stream:
        return list(read_frames(stream, read_header(stream)))


def same(one: Sequence[Picture], other: Sequence[Picture]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x.planes, y.planes, strict=True)
    )


@pytest.mark.parametrize("bits", [8, 10])
def test_a_raw_clip_comes_out_as_it_went_in(ffmpeg: FFmpeg, tmp_path: Path, bits: int) -> None:
    # Every code value there is, also those outside the limited range, at a size that is no multiple of 16.
    path = tmp_path / f"Noise_52x36_50fps_420_{bits}bit_YUV.yuv"
    samples = np.random.default_rng(0).integers(0, 1 << bits, (3, 52 * 36 * 3 // 2))
    path.write_bytes(samples.astype("u1" if bits == 8 else "<u2").tobytes())
    (clip,) = open_clips([path])
    made = make_reference(ffmpeg, clip, Recipe(), tmp_path / "r.y4m")
    assert (made.frames, made.header.rate, made.header.format.bit_depth) == (3, 50, bits)
    assert not made.header.format.full_range
    planes = [np.concatenate([plane.ravel() for plane in picture.planes]) for picture in pictures(made.path)]
    assert np.array_equal(np.stack(planes), samples)


def test_a_raw_clip_scores_as_the_same_pictures_in_a_container(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    path = tmp_path / "pan_320x192_25fps.yuv"
    ffmpeg.run(["-i", input_name(pan), "-f", "rawvideo", input_name(path)])
    grid = Grid(open_clips([path, pan]), Recipe(frames=4), (NONE,), (codec_run("x264", crfs=(30,)),))
    measured = measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"))
    scores = [point.measurement.scores for point in measured.points]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("depth", [8, 10])
def test_vvenc_keeps_every_frame_in_its_depth(ffmpeg: FFmpeg, pan: Path, tmp_path: Path, depth: int) -> None:
    source = tmp_path / "pan.y4m"
    pixels = "yuv420p" if depth == 8 else "yuv420p10le"
    ffmpeg.run(["-i", input_name(pan), "-pix_fmt", pixels, "-strict", "-1", "-f", "yuv4mpegpipe", input_name(source)])
    reference = count_raw_video(source, "bt601")
    stream, decoded = tmp_path / "e.vvc", tmp_path / "d.y4m"
    encode_isolated(reference.path, stream, encoder_settings(codec_run("vvenc"), 20, 50), ffmpeg.stop)
    ffmpeg.run(decode_arguments(stream, decoded, reference.header.format))
    made = count_raw_video(decoded, "bt601")
    assert (made.frames, made.header.format.bit_depth) == (12, depth)
    differences = [
        abs(a.planes[0].astype(float) - b.planes[0].astype(float)).mean() / (1 << (depth - 8))
        for a, b in zip(pictures(source), pictures(decoded), strict=True)
    ]
    assert max(differences) < 2


def test_pictures_pass_through_ten_bits_unchanged(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    deep, back = tmp_path / "deep.y4m", tmp_path / "back.y4m"
    to_ten = ["-pix_fmt", "yuv420p10le", "-strict", "-1", "-f", "yuv4mpegpipe"]
    ffmpeg.run(["-i", input_name(pan), *to_ten, input_name(deep)])
    ffmpeg.run(decode_arguments(deep, back, count_raw_video(pan, "bt601").header.format))
    assert same(pictures(back), pictures(pan))


def test_vvencs_bytes_do_not_depend_on_the_machine(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    streams = []
    for name in ("a.vvc", "b.vvc"):
        encode_isolated(pan, tmp_path / name, encoder_settings(codec_run("vvenc"), 37, 50), ffmpeg.stop)
        streams.append((tmp_path / name).read_bytes())
    assert streams[0] == streams[1]
    # Neither a delimiter (NAL unit type 20) nor a message (23, 24): all that counts as rate is picture.
    units = streams[0].split(b"\0\0\1")[1:]
    assert not {unit[1] >> 3 for unit in units} & {20, 23, 24}


def test_svtav1s_tune_raises_vmaf_more_than_neg(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    reference = count_raw_video(pan, "bt601")
    assert make_variant(ffmpeg, SVTAV1_VMAF, reference, tmp_path / "unused.y4m") is reference
    if not has_vmaf_tune(encoder_version("svtav1")):
        grid = Grid(open_clips([pan]), Recipe(frames=4), (NONE, SVTAV1_VMAF), (codec_run("svtav1", crfs=(41,)),))
        with pytest.raises(MissingError, match=r"svtav1:vmaf needs SVT-AV1 4\.2"):
            measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"))
        return
    plain, tuned = (
        measure_point(
            *(ffmpeg, reference, reference, codec_run("svtav1"), 41, 50),
            parameters=method.parameters,
            folder=tmp_path,
        )
        for method in (NONE, SVTAV1_VMAF)
    )
    gain, gain_neg = (getattr(tuned.scores, name) - getattr(plain.scores, name) for name in ("vmaf", "vmaf_neg"))
    assert tuned.bytes != plain.bytes
    assert gain > 1
    assert gain_neg < gain - 1


def test_an_encoders_parameters_and_preset_reach_it(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    names = ["x264:tune=ssim", "x264:preset=ultrafast", "contrast:1.10+x264:tune=ssim"]
    grid = Grid(open_clips([pan]), Recipe(), parse_methods(names), (codec_run("x264", crfs=(30,)),))
    measured = measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"))
    assert not measured.failures
    points = {point.method.label: point.measurement for point in measured.points}
    assert set(points) == {"none", *names}
    plain, tuned, fast, both = (points[name] for name in ("none", *names))
    assert fast.bytes > 1.2 * plain.bytes
    run = codec_run("x264", encoder_args="threads=1:keyint={gop}:tune=ssim")
    reference = count_raw_video(pan, "bt601")
    same = measure_point(ffmpeg, reference, reference, run, 30, 50, folder=tmp_path)
    assert tuned.bytes == same.bytes != plain.bytes
    assert both.scores.psnr_y < tuned.scores.psnr_y - 1


def test_the_tuned_settings_are_those_with_the_best_bd_rate(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("contrast:1.02", "contrast:1.10")
    monkeypatch.setitem(CANDIDATES, "contrast:tuned", settings)  # type: ignore[arg-type]
    clips, cache, recipe = open_clips([pan]), PointCache(tmp_path / "cache"), Recipe(frames=4)
    runs = [codec_run("x264", preset="veryfast", crfs=(22, 27, 32, 37, 42))]
    tuned = tune(["contrast", "contrast:tuned"], clips, recipe, runs, ffmpeg, cache)
    ((method,),) = tuned.values()
    assert (method.label, method.codecs) == ("contrast:tuned", ("x264",))
    # By hand: the same two settings on the same four CRFs.
    thinned = (replace(runs[0], crfs=(22, 27, 37, 42)),)
    readings: list[Progress] = []
    grid = Grid(clips, recipe, parse_methods(settings), thinned)
    measured = measure_grid(grid, ffmpeg, cache, effects=False, on_progress=readings.append)
    assert readings[0].done == readings[-1].total
    values = {row.method: row.percent for row in clip_rows(measured) if row.metric == "vmaf"}
    best = min(settings, key=lambda name: values[name] or 0)
    assert method.identity == parse_methods([best])[1].identity
    assert tune(["contrast"], clips, recipe, runs, ffmpeg, cache) == {}


def filtered(ffmpeg: FFmpeg, method: Method, reference: RawVideo, folder: Path) -> RawVideo:
    return make_variant(ffmpeg, method, reference, folder / "v.y4m")


def test_a_program_that_copies_changes_nothing(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    reference = count_raw_video(pan, "bt601")
    made = filtered(ffmpeg, parse_filter("same=cat"), reference, tmp_path)
    assert same(pictures(made.path), pictures(pan))
    assert [path.name for path in tmp_path.iterdir()] == ["v.y4m"]


def ffmpeg_as_filter(ffmpeg: FFmpeg, *options: str) -> Method:
    before = [str(ffmpeg.path), "-v", "error", "-i", "-"]
    return parse_filter("own=" + shlex.join([*before, *options, "-strict", "-1", "-f", "yuv4mpegpipe", "-"]))


def test_ffmpeg_as_a_program_does_what_the_method_does(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    reference = count_raw_video(pan, "bt601")
    (_, contrast) = parse_methods(["contrast:1.2"])
    wanted = make_variant(ffmpeg, contrast, reference, tmp_path / "w.y4m")
    graph = contrast.filter_graph(8)
    assert graph is not None
    made = filtered(ffmpeg, ffmpeg_as_filter(ffmpeg, "-vf", graph), reference, tmp_path)
    assert same(pictures(made.path), pictures(wanted.path))
    assert not same(pictures(made.path), pictures(pan))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-frames:v", "7"), "own gave 7 frames of 12"),
        (("-vf", "scale=160:96"), "own gave 160x96"),
        (("-pix_fmt", "yuv420p10le"), "at 10 bit"),
        (("-pix_fmt", "yuv444p"), "444"),
        (("-vf", "settb=1/50,setpts=N,fps=50"), "50 frames/s"),
    ],
)
def test_a_program_that_gives_other_pictures_is_an_error(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    with pytest.raises(VerificationError, match=says):
        filtered(ffmpeg, ffmpeg_as_filter(ffmpeg, *options), count_raw_video(pan, "bt601"), tmp_path)


@pytest.mark.parametrize(
    ("command", "error", "says"),
    [
        ("head -c 100000", VerificationError, "own gave no usable YUV4MPEG2"),
        ("echo hello", VerificationError, "own gave no usable YUV4MPEG2"),
        ("true", VerificationError, "own gave no usable YUV4MPEG2"),
        ("head -n 1", VerificationError, "own gave 0 frames of 12"),
        ("sh -c 'cat; echo no good >&2; exit 3'", ProcessError, "sh ended with code 3: no good"),
    ],
)
def test_a_program_that_goes_wrong_is_an_error(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path, command: str, error: type[Exception], says: str
) -> None:
    reference = count_raw_video(pan, "bt601")
    with pytest.raises(error, match=says):
        filtered(ffmpeg, parse_filter(f"own={command}"), reference, tmp_path)
    assert not list(tmp_path.glob("*.given"))


def test_a_program_that_says_no_frame_rate_is_believed(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    program = "import sys; i, o = sys.stdin.buffer, sys.stdout.buffer; i.readline(); "
    program += "o.write(b'YUV4MPEG2 W{} H{} F0:0 C420\\n'); o.write(i.read())"
    reference = count_raw_video(pan, "bt601")
    fmt = reference.header.format
    command = shlex.join([sys.executable, "-c", program.format(fmt.width, fmt.height)])
    made = filtered(ffmpeg, parse_filter(f"own={command}"), reference, tmp_path)
    assert made.path.read_bytes() == pan.read_bytes()


def test_a_program_that_vanished_is_missing(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    program = tmp_path / "own"
    program.write_text("#!/bin/sh\ncat\n")
    program.chmod(0o755)
    method = parse_filter(f"own={program}")
    program.unlink()
    with pytest.raises(MissingError, match="cannot be run"):
        filtered(ffmpeg, method, count_raw_video(pan, "bt601"), tmp_path)


def test_a_stopped_evaluation_stops_the_program(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    stopping = replace(ffmpeg, stop=threading.Event())
    began = tmp_path / "began"
    code = f"import pathlib, time; pathlib.Path({str(began)!r}).touch(); time.sleep(600)"
    method = parse_filter("own=" + shlex.join([sys.executable, "-c", code]))

    def stop_when_begun() -> None:
        while not began.exists() and not stopping.stop.wait(0.02):
            pass
        stopping.stop.set()

    watcher = threading.Thread(target=stop_when_begun)
    watcher.start()
    try:
        with pytest.raises(StoppedError):
            filtered(stopping, method, count_raw_video(pan, "bt601"), tmp_path)
    finally:
        stopping.stop.set()
        watcher.join()
