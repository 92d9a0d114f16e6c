"""Photographs of every kind that cameras, scanners and programs leave: what training reads of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from skimage import data as photographs
from tiny_training import TINY, changed

from scene.errors import InputError
from scene.training import train
from scene.training.data.images import image_size, read_image

GREY: npt.NDArray[np.uint8] = photographs.camera()[100:148, 100:164]
COLOUR: npt.NDArray[np.uint8] = photographs.astronaut()[100:148, 100:164]


def tiff(path: Path, width: int, height: int, strip: bytes, bits: int, *, order: str, sense: int, form: int) -> Path:
    """A grey TIFF as its specification says: `order` of bytes, `sense` 0 where 0 is white, `form` 1 without a sign."""
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: sense, 273: 8, 277: 1, 278: height, 279: len(strip)}
    entries[339] = form
    start = 8 + len(strip) + len(strip) % 2
    content = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    content += strip + b"\0" * (len(strip) % 2) + struct.pack(f"{order}H", len(entries))
    for tag, value in sorted(entries.items()):
        content += struct.pack(f"{order}HHII", tag, 4, 1, value)
    path.write_bytes(content + struct.pack(f"{order}I", 0))
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_of_grey_are_those_of_eight(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / f"deep.{suffix}")
    read = read_image(tmp_path / f"deep.{suffix}")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, np.repeat(GREY[..., None], 3, axis=2))


@pytest.mark.parametrize(("order", "sense"), [("<", 0), ("<", 1), (">", 1)])
def test_sixteen_bits_of_a_tiff_in_either_order_and_sense(tmp_path: Path, order: str, sense: int) -> None:
    codes = (GREY if sense else 255 - GREY).astype(f"{order}u2") * np.array(257, f"{order}u2")
    strip = codes.astype(f"{order}u2").tobytes()
    path = tiff(tmp_path / "a.tif", 64, 48, strip, 16, order=order, sense=sense, form=1)
    np.testing.assert_array_equal(read_image(path)[..., 1], GREY)


def test_twelve_bits_of_a_tiff(tmp_path: Path) -> None:
    codes = np.round(GREY.astype(np.float64) * 4095 / 255).astype(np.uint32).reshape(-1, 2)
    first, second = codes[:, 0], codes[:, 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8)
    path = tiff(tmp_path / "a.tif", 64, 48, packed.tobytes(), 12, order="<", sense=1, form=1)
    np.testing.assert_array_equal(read_image(path)[..., 0], GREY)


def test_white_and_black_of_sixteen_bits_and_rounding_between(tmp_path: Path) -> None:
    codes = np.array([[0, 128, 129, 32767, 65406, 65407, 65535]], np.uint16)
    Image.fromarray(codes).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 1, 127, 254, 255, 255]


@pytest.mark.parametrize("kind", ["float", "32 bits", "signed"])
def test_samples_without_a_known_white_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tif"
    if kind == "float":
        Image.fromarray(GREY.astype(np.float32) / 255).save(path)
    elif kind == "32 bits":
        Image.fromarray(GREY.astype(np.int32) << 16).save(path)
    else:
        tiff(path, 64, 48, GREY.astype("<i2").tobytes(), 16, order="<", sense=1, form=2)
    with pytest.raises(InputError, match=r"a\.tif cannot be read as an image \(its samples .* save it with 8 or 16"):
        read_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_other_modes_of_a_png(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", ["jpg", "tif", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    """As EXIF numbers them: what a viewer shows, from what the sensor saw."""
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :16], stored[:16, 32:], stored[16:, :16] = 255, 150, 75  # one grey a corner, 0 in the last
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"jpg": {"quality": 100}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    read = read_image(tmp_path / f"a.{suffix}")
    expected = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored[::-1].transpose(1, 0, 2),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: stored.transpose(1, 0, 2)[::-1],
    }[orientation]
    assert read.shape == expected.shape
    assert image_size(tmp_path / f"a.{suffix}") == expected.shape[1::-1]
    assert np.abs(read.astype(int) - expected).max() <= (3 if suffix == "jpg" else 0)


def test_sixteen_bits_are_turned_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 2], GREY[::-1].T)


def test_training_sees_the_same_in_sixteen_bits_as_in_eight(tmp_path: Path) -> None:
    """To the bit: losses depend on every sample."""
    logs = []
    for bits in (8, 16):
        folder = tmp_path / str(bits)
        folder.mkdir()
        for name in ("camera", "brick", "grass"):
            grey = getattr(photographs, name)()[:160, :160]
            Image.fromarray(grey if bits == 8 else grey.astype(np.uint16) * 257).save(folder / f"{name}.png")
        train(changed(TINY, run={"steps": 2, "validate_every": 2}), folder, tmp_path / f"out{bits}", validation=folder)
        logs.append((tmp_path / f"out{bits}" / "log.jsonl").read_text(encoding="utf-8"))
    assert logs[0] == logs[1]
