"""Methods with a focus in an evaluation: which words, which maps, which pictures, and where bits go."""

from pathlib import Path

import numpy as np
import pytest
from pan_clip import HEIGHT, WIDTH, write_pan

from scene.errors import UsageError
from scene.evaluation.grid.focus import Focus, make_maps, parse_focus
from scene.evaluation.grid.grid import Grid, measure_grid
from scene.evaluation.grid.methods import parse_method, parse_methods
from scene.evaluation.grid.variant import make_variant
from scene.measure.cache import PointCache
from scene.measure.clip import Recipe, make_reference, open_clips
from scene.measure.encode import codec_run
from scene.measure.raw_video import read_lumas
from scene.measure.regions import open_masks
from scene.video.ffmpeg import FFmpeg, input_name

FRAMES = 4


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_pan(tmp_path / "walk.y4m", FRAMES)


@pytest.fixture
def masks(ffmpeg: FFmpeg, tmp_path: Path) -> Path:
    """White in the left half."""
    folder = tmp_path / "masks"
    folder.mkdir()
    graph = f"color=black:s={WIDTH}x{HEIGHT}:r=25,drawbox=w={WIDTH // 2}:h={HEIGHT}:c=white:t=fill,format=gray"
    arguments = ["-f", "lavfi", "-i", graph, "-frames:v", str(FRAMES), "-c:v", "ffv1"]
    ffmpeg.run([*arguments, input_name(folder / "walk.mkv")])
    return folder


def test_words_of_a_focus() -> None:
    assert parse_focus("focus:mask") == Focus("mask", 1, "encoder")
    assert parse_focus("focus:encoder:0.5:both") == Focus("encoder", 0.5, "both")
    for wrong in ("focus:moon", "focus:mask:0", "focus:mask:2", "focus:mask:x", "focus:mask:1:luck"):
        with pytest.raises(UsageError, match="must be focus:SOURCE"):
            parse_focus(wrong)
    method = parse_method("contrast+focus:centre:0.5")
    assert method.contrast and method.focus == Focus("centre", 0.5, "encoder")
    # Those that heed regions alone; pictures are smoothed for all.
    assert set(method.codecs or ()) == {"x264", "x265"}
    assert parse_method("focus:centre:1:picture").serves("svtav1")
    with pytest.raises(UsageError, match="has a focus already"):
        parse_method("focus:mask+focus:centre")
    identities = {one.identity for one in parse_methods(["scene-lite", "scene-lite+focus:mask", "focus:mask:1:both"])}
    assert len(identities) == len(parse_methods(["scene-lite", "scene-lite+focus:mask", "focus:mask:1:both"]))


def test_an_encoder_is_told_and_a_picture_smoothed(ffmpeg: FFmpeg, clip: Path, masks: Path, tmp_path: Path) -> None:
    clips, recipe = open_clips([clip]), Recipe()
    runs = (codec_run("x264", preset="veryfast", crfs=(30,)),)
    names = ["focus:mask", "focus:mask:1:picture", "focus:shuffled", "contrast+focus:mask:1:both"]
    grid = Grid(clips, recipe, parse_methods(names), runs, open_masks(masks, clips, recipe))
    measured = measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"), effects=False)
    assert not measured.failures
    found = {point.method.label: point.measurement for point in measured.points}
    regions = {label: one.regions for label, one in found.items()}
    plain, told, smoothed, wrong = (regions[label] for label in ("none", *names[:3]))
    assert plain and told and smoothed and wrong
    assert told.psnr_inside and plain.psnr_inside and told.psnr_outside and plain.psnr_outside and wrong.psnr_inside
    assert told.psnr_inside > plain.psnr_inside + 1 and told.psnr_outside < plain.psnr_outside - 1
    # The left half is told to be the right one.
    assert wrong.psnr_inside < plain.psnr_inside - 1
    assert found["focus:mask:1:picture"].bytes < 0.97 * found["none"].bytes
    assert smoothed.psnr_inside == pytest.approx(plain.psnr_inside, abs=0.5)
    assert measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"), effects=False).timing is None


def test_what_matters_stays_as_it_is_and_the_rest_is_smoother(
    ffmpeg: FFmpeg, clip: Path, masks: Path, tmp_path: Path
) -> None:
    (opened,), recipe = open_clips([clip]), Recipe()
    (mask,) = open_masks(masks, [opened], recipe).values()
    reference = make_reference(ffmpeg, opened, recipe, tmp_path / "reference.y4m")
    for base in ("none", "scene-lite"):
        made = {}
        for strength in (0, 0.5, 1):
            name = base if not strength else f"{base}+focus:mask:{strength}:picture"
            method = next(one for one in parse_methods([name]) if one.label == name and one.serves("x264"))
            maps = make_maps(ffmpeg, method.focus, opened, mask, recipe, reference, tmp_path / "maps.y4m")
            path = tmp_path / f"{base}{strength}.y4m"
            step = method.step("x264", 30)
            video = make_variant(ffmpeg, method, reference, path, step=step, device="cpu", maps=maps)
            made[strength] = list(read_lumas(video))
        half = WIDTH // 2
        detail = {
            strength: np.mean([np.abs(np.diff(plane[:, half + 8 :].astype(int), axis=1)).mean() for plane in planes])
            for strength, planes in made.items()
        }
        assert detail[1] < 0.9 * detail[0] and detail[1] < detail[0.5] < detail[0]
        assert all((one[:, : half - 8] == two[:, : half - 8]).all() for one, two in zip(made[0], made[1], strict=True))


def test_a_focus_by_masks_needs_them(ffmpeg: FFmpeg, clip: Path, tmp_path: Path) -> None:
    runs = (codec_run("x264", preset="veryfast", crfs=(30,)),)
    grid = Grid(open_clips([clip]), Recipe(), parse_methods(["focus:mask"]), runs)
    with pytest.raises(UsageError, match="needs masks"):
        measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"))
