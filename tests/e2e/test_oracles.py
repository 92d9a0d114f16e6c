"""Scores against other people's arithmetic: ffmpeg's filters run by hand, another package, recorded figures."""

import json
import re
import statistics
import subprocess
from pathlib import Path

import pytest
from ffmpeg_quality_metrics import FfmpegQualityMetrics
from pan_clip import write_pan

from scene.evaluation.grid.grid import Grid, Measured, measure_grid
from scene.evaluation.grid.methods import parse_method, parse_methods
from scene.evaluation.grid.variant import make_variant
from scene.evaluation.report.summary import ClipRow, clip_rows
from scene.measure.cache import PointCache
from scene.measure.clip import Recipe, open_clips
from scene.measure.encode import codec_run
from scene.measure.libvmaf import METRICS_VERSION
from scene.measure.point import Comparison, compare
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.metrics.bjontegaard import bd_rate
from scene.video.ffmpeg import FFmpeg

# docs/evaluating.md, "By hand".
BY_HAND = (
    "[0:v]settb=AVTB,setpts=N[d];[1:v]settb=AVTB,setpts=N[r];[d][r]libvmaf="
    "model='version=vmaf_v0.6.1\\:name=vmaf\\:disable_clip=true"
    "|version=vmaf_v0.6.1neg\\:name=vmaf_neg"
    "|version=vmaf_v1.0.16_3d0h\\:name=vmaf_v1'"
    ":feature='name=float_ms_ssim|name=psnr|name=cambi':log_fmt=json:log_path=v.json"
)
XPSNR_BY_HAND = "[0:v]settb=AVTB,setpts=N[d];[1:v]settb=AVTB,setpts=N[r];{order}xpsnr=stats_file=x.txt"


def by_hand(ffmpeg: FFmpeg, distorted: Path, reference: Path, graph: str, folder: Path) -> None:
    command = [str(ffmpeg.path), "-v", "error", "-nostdin", "-i", str(distorted), "-i", str(reference)]
    subprocess.run([*command, "-lavfi", graph, "-f", "null", "-"], cwd=folder, check=True, timeout=60)


@pytest.fixture(scope="module")
def reference(pan: Path) -> RawVideo:
    return count_raw_video(pan, "bt601")


@pytest.fixture(scope="module")
def encode(pan: Path, ffmpeg: FFmpeg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x264's bytes depend on the number of threads: one."""
    stream = tmp_path_factory.mktemp("pair") / "encode.h264"
    ffmpeg.run(
        ["-i", str(pan), "-c:v", "libx264", "-preset", "medium", "-crf", "32", "-g", "50", "-threads", "1", str(stream)]
    )
    return stream


@pytest.fixture(scope="module")
def pair(encode: Path, reference: RawVideo, ffmpeg: FFmpeg, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(ffmpeg, encode, reference, folder=tmp_path_factory.mktemp("compare"))


def test_libvmaf_by_hand_says_the_same(
    ffmpeg: FFmpeg, reference: RawVideo, encode: Path, pair: Comparison, tmp_path: Path
) -> None:
    by_hand(ffmpeg, encode, reference.path, BY_HAND, tmp_path)
    log = json.loads((tmp_path / "v.json").read_text())
    means = {name: log["pooled_metrics"][name]["mean"] for name in log["pooled_metrics"]}
    for name in ("vmaf", "vmaf_neg", "vmaf_v1", "psnr_y", "cambi"):
        assert getattr(pair.scores, name) == pytest.approx(means[name], abs=0.01), name
    assert pair.scores.ms_ssim == pytest.approx(means["float_ms_ssim"], abs=1e-4)
    assert len(log["frames"]) == pair.scores.frames == 12
    for name in ("vmaf", "vmaf_neg", "vmaf_v1", "psnr_y", "cambi"):
        own = [frame["metrics"][name] for frame in log["frames"]]
        assert pair.frames[name] == pytest.approx(own, abs=0.01), name


def test_xpsnr_by_hand_says_the_same_with_the_reference_first(
    ffmpeg: FFmpeg, reference: RawVideo, encode: Path, pair: Comparison, tmp_path: Path
) -> None:
    def average(order: str) -> float:
        by_hand(ffmpeg, encode, reference.path, XPSNR_BY_HAND.format(order=order), tmp_path)
        found = re.search(r"XPSNR average.* y: *([0-9.]+)", (tmp_path / "x.txt").read_text())
        assert found
        return float(found[1])

    assert pair.scores.xpsnr_y == pytest.approx(average("[r][d]"), abs=0.001)
    # It weighs errors by the activity of its first input, so the order shows.
    assert abs(pair.scores.xpsnr_y - average("[d][r]")) > 0.05


def test_ffmpeg_quality_metrics_says_the_same(
    ffmpeg: FFmpeg, reference: RawVideo, encode: Path, pair: Comparison, tmp_path: Path
) -> None:
    # A frame rate is given, since otherwise it asks ffprobe, which imageio-ffmpeg does not carry.
    other = FfmpegQualityMetrics(
        str(reference.path), str(encode), framerate=25, threads=1, tmp_dir=str(tmp_path), ffmpeg_path=str(ffmpeg.path)
    )
    figures = other.calculate(["vmaf", "psnr"])
    assert len(figures["vmaf"]) == len(figures["psnr"]) == 12
    # It clips, as the model file that it brings along says.
    vmaf, psnr = (statistics.fmean(frame[key] for frame in figures[key[:4]]) for key in ("vmaf", "psnr_y"))
    assert pair.scores.vmaf_clipped == pytest.approx(vmaf, abs=0.01)
    assert pair.scores.psnr_y == pytest.approx(psnr, abs=0.01)


def test_a_fixed_pair_keeps_its_scores(pair: Comparison) -> None:
    """Recorded with ffmpeg n9.0.2 of imageio-ffmpeg 0.8.1; a new METRICS_VERSION may move them."""
    assert METRICS_VERSION == "2"
    scores = pair.scores
    assert (scores.vmaf, scores.vmaf_neg, scores.vmaf_v1) == pytest.approx((94.007, 92.282, 94.821), abs=0.05)
    assert scores.ms_ssim == pytest.approx(0.98990, abs=5e-4)
    assert (scores.psnr_y, scores.xpsnr_y) == pytest.approx((34.422, 31.907), abs=0.05)
    assert scores.cambi == pytest.approx(0.470, abs=0.05)
    assert scores.flicker == pytest.approx(0.822, abs=0.02)


def test_an_identical_pair_is_at_every_top(ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path) -> None:
    scores = compare(ffmpeg, reference.path, reference, folder=tmp_path).scores
    assert scores.vmaf >= 97
    # libvmaf gives NEG of a moving identical pair as 99.8, and its first frame, without motion, as 97.4.
    assert 99.5 <= scores.vmaf_neg <= 100
    assert (scores.vmaf_clipped, scores.vmaf_v1) == pytest.approx((99.8, 100), abs=0.3)
    assert (scores.ms_ssim, scores.psnr_y, scores.xpsnr_y, scores.flicker) == (1, 60, 100, 0)


def test_a_shift_of_one_frame_is_noticed(ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path) -> None:
    late = write_pan(tmp_path / "late.y4m", 12, first=1)
    scores = compare(ffmpeg, late, reference, folder=tmp_path).scores
    assert scores.vmaf < 60
    assert scores.vmaf_neg < 60
    assert scores.psnr_y < 30


def test_clipped_scores_stick_at_100_where_unclipped_ones_go_on(
    ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path
) -> None:
    steep, steeper = (
        compare(ffmpeg, variant(ffmpeg, f"contrast:{factor}", reference, tmp_path), reference, folder=tmp_path).scores
        for factor in (1.15, 1.3)
    )
    assert steeper.vmaf > steep.vmaf + 5 > 110
    # The first frame has no motion, so that only the others stick.
    assert 99 < steep.vmaf_clipped <= 100
    assert steep.vmaf_clipped == pytest.approx(steeper.vmaf_clipped, abs=0.5)
    assert steeper.vmaf_neg < 100


def variant(ffmpeg: FFmpeg, method: str, reference: RawVideo, folder: Path) -> Path:
    return make_variant(ffmpeg, parse_method(method), reference, folder / "variant.y4m").path


@pytest.fixture(scope="module")
def grid(pan: Path, ffmpeg: FFmpeg, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """The pan through x264, sharpened, and with so much contrast that VMAF passes 100 and PSNR is out of reach."""
    asked = Grid(
        open_clips([pan]),
        Recipe(frames=6),
        parse_methods(["unsharp:1.0", "contrast:1.3"]),
        (codec_run("x264", preset="veryfast", crfs=(22, 27, 32, 37, 42)),),
    )
    return measure_grid(asked, ffmpeg, PointCache(tmp_path_factory.mktemp("cache")), jobs=2)


def row(measured: Measured, method: str, metric: str) -> ClipRow:
    (found,) = (r for r in clip_rows(measured) if (r.method, r.metric) == (method, metric))
    return found


def test_a_sharpening_saves_on_vmaf_and_costs_on_neg(grid: Measured) -> None:
    saved, cost = (row(grid, "unsharp:1.0", metric).percent for metric in ("vmaf", "vmaf_neg"))
    assert saved is not None and cost is not None
    assert saved < -3
    assert cost > 3


def test_without_overlap_there_is_no_value_and_a_reason(grid: Measured) -> None:
    none = row(grid, "contrast:1.3", "psnr_y")
    assert none.percent is None
    assert none.overlap == 0
    assert "no overlapping quality interval" in none.note


def test_a_curve_that_sticks_at_100_gives_no_value_and_a_reason(grid: Measured) -> None:
    def curve(method: str, metric: str) -> list[tuple[float, float]]:
        own = [point for point in grid.points if point.method.label == method]
        return [(point.kbps, getattr(point.measurement.scores, metric)) for point in own]

    stuck = [quality for _, quality in curve("contrast:1.3", "vmaf_clipped")]
    assert stuck.count(100) == 3
    saturated = bd_rate(curve("none", "vmaf_clipped"), curve("contrast:1.3", "vmaf_clipped"))
    assert saturated.percent is None
    assert "3 usable points of 4" in saturated.note
    # Unclipped, every point counts.
    assert "usable points" not in row(grid, "contrast:1.3", "vmaf").note
