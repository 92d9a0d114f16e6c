"""What a method does to pictures, taken apart: known gains and offsets on a real clip."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest
from skimage import data

from scene.evaluation.grid.methods import parse_method
from scene.evaluation.grid.prefilter import PrefilterEffect, measure_effect
from scene.evaluation.grid.variant import make_variant
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.picture import Picture, PictureFormat, Plane
from scene.video.ffmpeg import FFmpeg, find_ffmpeg
from scene.video.rawvideo.y4m import Y4MHeader, read_frames, read_header, write_frame, write_header


@pytest.fixture(scope="module")
def ffmpeg() -> FFmpeg:
    return find_ffmpeg()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> RawVideo:
    """Three frames of 320x192: a window that moves over a photograph, without colour."""
    path = tmp_path_factory.mktemp("window") / "window.y4m"
    fmt = PictureFormat(320, 192, matrix="bt601")
    luma = (16 + data.camera().astype(float) * 219 / 255).round().astype(np.uint8)
    grey = np.full((96, 160), 128, np.uint8)
    with path.open("wb") as stream:
        write_header(stream, Y4MHeader(fmt, Fraction(25)))
        for number in range(3):
            write_frame(stream, Picture(fmt, (luma[40:232, 3 * number :][:, :320], grey, grey)))
    return count_raw_video(path, "bt601")


def changed(video: RawVideo, path: Path, change: Callable[[np.ndarray], np.ndarray], *, bit_depth: int = 8) -> RawVideo:
    """The clip in a bit depth, its luma, in code values of that depth as floats, after `change`."""
    factor = 1 << (bit_depth - 8)
    kind = np.uint8 if bit_depth == 8 else np.uint16
    with video.path.open("rb") as source, path.open("wb") as sink:
        header = read_header(source, matrix="bt601")
        made = replace(header, format=replace(header.format, bit_depth=bit_depth))
        write_header(sink, made)
        for picture in read_frames(source, header):
            planes: list[Plane] = [(plane.astype(np.uint16) * factor).astype(kind) for plane in picture.planes]
            planes[0] = change(planes[0].astype(float)).round().clip(0, 256 * factor - 1).astype(kind)
            write_frame(sink, Picture(made.format, tuple(planes)))
    return count_raw_video(path, "bt601")


def measure(ffmpeg: FFmpeg, reference: RawVideo, processed: RawVideo, folder: Path) -> PrefilterEffect:
    effect = measure_effect(ffmpeg, reference, processed, folder=folder)
    left = {path.name for path in folder.iterdir()} - {processed.path.name, reference.path.name}
    assert left == set(), "raw video was left behind"
    return effect


def test_a_contrast_is_all_affine(ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path) -> None:
    contrast = make_variant(ffmpeg, parse_method("contrast:1.1"), reference, tmp_path / "c.y4m")
    effect = measure(ffmpeg, reference, contrast, tmp_path)
    # (y - 128) * 1.1 + 128
    assert effect.gain == pytest.approx(1.1, abs=0.002)
    assert effect.offset == pytest.approx(-12.8, abs=0.3)
    assert effect.vmaf_gain > 5
    assert effect.affine_gain_share == pytest.approx(1, abs=0.02)
    assert effect.affine_gain == pytest.approx(effect.affine_gain_share * effect.vmaf_gain)


def test_nothing_done_is_nothing_measured(ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path) -> None:
    effect = measure(ffmpeg, reference, reference, tmp_path)
    assert (effect.gain, effect.offset) == (pytest.approx(1), pytest.approx(0, abs=1e-9))
    assert (effect.clipped, effect.vmaf_gain, effect.affine_gain, effect.cambi) == (0, 0, 0, 0)
    assert effect.affine_gain_share is None


def test_a_sharpening_is_not_affine(ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path) -> None:
    sharp = make_variant(ffmpeg, parse_method("unsharp:1.0"), reference, tmp_path / "s.y4m")
    effect = measure(ffmpeg, reference, sharp, tmp_path)
    assert effect.vmaf_gain > 3
    assert effect.affine_gain_share is not None
    # Steeper edges look like a gain of luma too, but not only.
    assert effect.affine_gain_share < 0.8
    assert all(np.isfinite(value) for value in msgspec.to_builtins(effect).values() if value is not None)


def test_a_loss_has_no_share(ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path) -> None:
    soft = make_variant(ffmpeg, parse_method("unsharp:-1.0"), reference, tmp_path / "soft.y4m")
    effect = measure(ffmpeg, reference, soft, tmp_path)
    assert effect.vmaf_gain < -3
    assert effect.affine_gain_share is None


def test_ten_bit_offsets_are_in_codes_of_8_bit(ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path) -> None:
    deep = changed(reference, tmp_path / "deep.y4m", lambda luma: luma, bit_depth=10)
    moved = changed(reference, tmp_path / "moved.y4m", lambda luma: luma * 0.9 + 40, bit_depth=10)
    effect = measure_effect(ffmpeg, deep, moved, folder=tmp_path)
    assert effect.gain == pytest.approx(0.9, abs=0.001)
    assert effect.offset == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_clipped_counts_only_what_the_method_moved(
    ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path, bit_depth: int
) -> None:
    code = 1 << (bit_depth - 8)

    def base(luma: np.ndarray) -> np.ndarray:
        # An eighth of the picture is black from the start.
        luma = luma.clip(20 * code, 220 * code)
        luma[:24] = 16 * code
        return luma

    def burnt(luma: np.ndarray) -> np.ndarray:
        # A quarter goes to white, another eighth to below black.
        luma = base(luma)
        luma[48:96], luma[96:120] = 240 * code, 10 * code
        return luma

    own = changed(reference, tmp_path / "own.y4m", base, bit_depth=bit_depth)
    processed = changed(reference, tmp_path / "burnt.y4m", burnt, bit_depth=bit_depth)
    effect = measure_effect(ffmpeg, own, processed, folder=tmp_path)
    assert effect.clipped == pytest.approx(0.375)


def test_a_clip_of_one_grey_has_an_offset_only(ffmpeg: FFmpeg, reference: RawVideo, tmp_path: Path) -> None:
    grey = changed(reference, tmp_path / "grey.y4m", lambda luma: np.full_like(luma, 100))
    lighter = changed(reference, tmp_path / "lighter.y4m", lambda luma: np.full_like(luma, 103))
    effect = measure_effect(ffmpeg, grey, lighter, folder=tmp_path)
    assert (effect.gain, effect.offset) == (1, pytest.approx(3))


def test_a_record_gives_the_same_effect_back() -> None:
    effect = PrefilterEffect(1.05, -6.4, 0.01, 4.5, 4.4, None, 0.1, None)
    record = msgspec.to_builtins(effect)
    # The name that entries of the cache and results.json have had from the beginning.
    assert "affine_share" in record
    assert msgspec.convert(record, PrefilterEffect) == effect
    with pytest.raises(msgspec.ValidationError, match=r"\$\.gain"):
        msgspec.convert(record | {"gain": None}, PrefilterEffect)
    with pytest.raises(msgspec.ValidationError, match="missing"):
        msgspec.convert({"gain": 1.0}, PrefilterEffect)
