"""Fits the constants of the proxy's rate estimate to real JPEG files, and says how far the fit is off.

    python scripts/calibrate_rate.py PHOTOS

bits = sum(log2(1 + |level|)) * (base + sparse * log2(1 / share of levels that are not zero)), by least squares of the
relative error over photographs, grey and colour, at six qualities. `scene.proxy.blocks` holds the result.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from scene.proxy import JpegProxy, quality_to_step
from scene.proxy import jpeg as proxy_module
from scene.training.data.images import list_images, read_image

QUALITIES = (10, 20, 35, 50, 70, 85)


def real_bits(image: Image.Image, quality: int) -> int:
    """Bits of a JPEG file beyond those of an 8x8 one, which is nearly all header."""
    sizes = []
    for content in (image, Image.new(image.mode, (8, 8))):
        buffer = io.BytesIO()
        content.save(buffer, "JPEG", quality=quality, subsampling=2, optimize=True)
        sizes.append(len(buffer.getvalue()))
    return 8 * (sizes[0] - sizes[1])


def magnitudes(image: Image.Image, quality: int) -> tuple[float, float]:
    """The two sums over planes that the fit weighs: of log2(1 + |level|), plain and times log2(1 / share)."""
    pixels = torch.from_numpy(np.array(image)).float() / 255.0
    frames = pixels[None, None] if image.mode == "L" else pixels.permute(2, 0, 1)[None]
    sums: list[tuple[float, float]] = []

    def record(levels: torch.Tensor) -> torch.Tensor:
        share = (levels != 0).float().mean().clamp(min=1e-4)
        total = float(torch.log2(1.0 + levels.abs()).sum())
        sums.append((total, -total * float(torch.log2(share))))
        return torch.ones(1)

    with mock.patch.object(proxy_module, "bits_per_magnitude", record):
        JpegProxy()(frames, torch.tensor([quality_to_step(quality)]))
    return sum(a for a, _ in sums), sum(b for _, b in sums)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=60, help="photographs to use, evenly spread over the sorted names")
    arguments = parser.parse_args()
    files = list_images(arguments.photos)
    rows = []
    for index in np.linspace(0, len(files) - 1, min(arguments.count, len(files))).round().astype(int):
        colour = Image.fromarray(read_image(files[index])[:512, :512])
        for image in (colour, colour.convert("L")):
            rows += [(q, *magnitudes(image, q), real_bits(image, q)) for q in QUALITIES]
    quality, plain, sparse, bits = np.array(rows).T
    features = np.stack([plain, sparse], axis=1) / bits[:, None]
    constants = np.linalg.lstsq(features, np.ones(len(bits)), rcond=None)[0]
    error = features @ constants - 1
    print(f"base {constants[0]:.3f}, sparse {constants[1]:.3f}")
    off = np.abs(error)
    print(f"relative error: mean magnitude {off.mean():.3f}, 95th percentile {np.quantile(off, 0.95):.3f}")
    for q in QUALITIES:
        chosen = error[quality == q]
        print(f"quality {q}: bias {chosen.mean():+.3f}, spread {chosen.std():.3f}")


if __name__ == "__main__":
    main()
