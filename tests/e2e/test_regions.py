"""`scene evaluate --regions`: masks beside clips, what they add to a report, and which are refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pan_clip import HEIGHT, WIDTH, write_pan

from scene.cli import main
from scene.evaluation.grid.grid import Grid, Measured, measure_grid
from scene.evaluation.grid.methods import parse_methods
from scene.measure import point
from scene.measure.cache import PointCache
from scene.measure.clip import Recipe, open_clips
from scene.measure.encode import codec_run
from scene.measure.raw_video import read_lumas, write_raw_video
from scene.measure.regions import make_mask, open_masks
from scene.metrics.scores import BD_METRICS, REGION_METRICS
from scene.picture import Picture, PictureFormat
from scene.video.ffmpeg import FFmpeg, input_name
from scene.video.rawvideo.y4m import Y4MHeader

FRAMES = 4


def write_mask(ffmpeg: FFmpeg, path: Path, frames: int = FRAMES, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """White in the left half, as a lossless grey video."""
    width, height = size
    fmt = PictureFormat(width, height, chroma="400", full_range=True)
    plane = np.zeros((height, width), np.uint8)
    plane[:, : width // 2] = 255
    raw = write_raw_video(path.with_suffix(".raw.y4m"), Y4MHeader(fmt, 25), [Picture(fmt, (plane,))] * frames)  # type: ignore[arg-type]
    ffmpeg.run(["-i", input_name(raw.path), "-c:v", "ffv1", "-pix_fmt", "gray", input_name(path)])
    raw.path.unlink()
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_pan(tmp_path / "walk.y4m", FRAMES)


@pytest.fixture
def masks(ffmpeg: FFmpeg, tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    write_mask(ffmpeg, folder / "walk.mkv")
    return folder


def evaluate(clip: Path, masks: Path, folder: Path, *more: str) -> int:
    arguments = [clip, "--regions", masks, "--codecs", "x264", "--preset", "veryfast", "--crf", "20,27,34,41", *more]
    sys.argv = [
        "scene",
        "evaluate",
        *map(str, arguments),
        "--cache",
        str(folder / "cache"),
        "--out",
        str(folder / "out"),
    ]
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_regions_are_in_table_results_and_report(
    clip: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(clip, masks, tmp_path, "--models", "contrast") == 0
    out = tmp_path / "out"
    document = json.loads((out / "results.json").read_text())
    names = [metric.name for metric in REGION_METRICS]
    assert all(entry[name] > 0 for entry in document["points"] for name in names)
    rows = {row["metric"] for row in document["bd_rate"]}
    assert rows == {*BD_METRICS, *names}
    assert len(document["environment"]["clips"][0]["mask"]) == 64
    assert "## By region" in capsys.readouterr().out
    page = (out / "report.html").read_text()
    assert "Inside and outside the region" in page
    assert page.count("data:image/png;base64,") == 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda ffmpeg, folder: (folder / "walk.mkv").unlink(), "holds no mask of walk.y4m"),
        (lambda ffmpeg, folder: write_mask(ffmpeg, folder / "walk.avi"), "holds 2 masks of walk.y4m"),
        (lambda ffmpeg, folder: write_mask(ffmpeg, folder / "walk.mkv", size=(64, 64)), "of 64x64"),
        (lambda ffmpeg, folder: write_mask(ffmpeg, folder / "walk.mkv", FRAMES + 1), "has 5 pictures"),
        (lambda ffmpeg, folder: (folder / "walk.mkv").write_bytes(b"no video" * 99), "cannot be opened as video"),
    ],
)
def test_masks_that_do_not_fit_are_refused_before_any_work(
    spoil: object,
    said: str,
    ffmpeg: FFmpeg,
    clip: Path,
    masks: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(ffmpeg, masks)  # type: ignore[operator]
    assert evaluate(clip, masks, tmp_path) == 3
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and said in error[0]
    assert not (tmp_path / "cache").exists() and not (tmp_path / "out").exists()


def grid(clip: Path, masks: Path) -> Grid:
    clips, recipe = open_clips([clip]), Recipe()
    runs = (codec_run("x264", preset="veryfast", crfs=(24, 36)),)
    return Grid(clips, recipe, parse_methods(["contrast"]), runs, open_masks(masks, clips, recipe))


def scores(measured: Measured) -> list[object]:
    assert not measured.failures
    return [(entry.measurement.bytes, entry.measurement.scores) for entry in measured.points]


def test_points_of_the_cache_get_their_regions_without_being_scored_again(
    ffmpeg: FFmpeg, clip: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked = grid(clip, masks)
    plain = replace(masked, masks={})
    cache = PointCache(tmp_path / "cache")
    before = measure_grid(plain, ffmpeg, cache)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("libvmaf ran")

    monkeypatch.setattr(point, "score", refuse)
    found = measure_grid(masked, ffmpeg, cache)
    assert scores(found) == scores(before)
    assert all(entry.measurement.regions is not None for entry in found.points)
    # Once known, nothing is encoded either.
    again = measure_grid(masked, ffmpeg, cache)
    assert again.timing is None and again.points == found.points
    assert measure_grid(plain, ffmpeg, cache).points == before.points


def test_points_with_regions_serve_without_a_mask_and_with_another(
    ffmpeg: FFmpeg, clip: Path, masks: Path, tmp_path: Path
) -> None:
    cache = PointCache(tmp_path / "cache")
    masked = grid(clip, masks)
    found = measure_grid(masked, ffmpeg, cache)
    plain = measure_grid(replace(masked, masks={}), ffmpeg, cache)
    assert plain.timing is None and scores(plain) == scores(found)
    (masks / "walk.mkv").unlink()
    everything = masks / "walk.mkv"
    ffmpeg.run(
        [
            "-f",
            "lavfi",
            "-i",
            f"color=white:s={WIDTH}x{HEIGHT}:r=25",
            "-frames:v",
            str(FRAMES),
            "-c:v",
            "ffv1",
            "-vf",
            "format=gray",
            input_name(everything),
        ]
    )
    whole = measure_grid(grid(clip, masks), ffmpeg, cache)
    assert scores(whole) == scores(found)
    for entry in whole.points:
        regions = entry.measurement.regions
        assert regions is not None and regions.psnr_outside is None
        # Under a mask of everything PSNR is libvmaf's.
        assert regions.psnr_inside == pytest.approx(entry.measurement.scores.psnr_y, abs=1e-4)
        assert regions.ssim_inside == pytest.approx(regions.ssim_whole)


def test_a_mask_is_halved_as_its_clip(ffmpeg: FFmpeg, clip: Path, masks: Path, tmp_path: Path) -> None:
    clips, recipe = open_clips([clip]), Recipe(frames=2, halve_above=100)
    (mask,) = open_masks(masks, clips, recipe).values()
    made = make_mask(ffmpeg, mask, clips[0], recipe, tmp_path / "mask.y4m")
    planes = list(read_lumas(made))
    assert [plane.shape for plane in planes] == [(HEIGHT // 2, WIDTH // 2)] * 2
    assert (planes[0][:, : WIDTH // 4] == 255).all() and (planes[0][:, WIDTH // 4 :] == 0).all()


@pytest.mark.slow
def test_a_cluster_gives_the_same_regions(ffmpeg: FFmpeg, clip: Path, masks: Path, tmp_path: Path) -> None:
    masked = grid(clip, masks)
    here = measure_grid(masked, ffmpeg, PointCache(tmp_path / "here"))
    there = measure_grid(masked, ffmpeg, PointCache(tmp_path / "there"), ray="auto")
    assert here.points == there.points
