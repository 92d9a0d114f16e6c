"""Turns photographs into short lossless clips with a slow pan and zoom: held-out material for `scene evaluate`.

python scripts/pan_clips.py PHOTOS OUT --count 8 --frames 24 --width 640 --height 360
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from scene.training.data import list_images


def write_clip(photo: Path, out: Path, frames: int, width: int, height: int, random: np.random.Generator) -> None:
    """Moves a window over the photo, at about two pixels a frame and up to 5 % of zoom, and codes it losslessly."""
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    # The window is the largest of the clip's shape that leaves room to move.
    scale = 0.8 * min(image.width / width, image.height / height)
    angle = random.uniform(0, 2 * np.pi)
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(24), options={"qp": "0", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            position = index - (frames - 1) / 2
            zoom = scale * (1 - 0.05 * index / frames)
            reach_x, reach_y = (image.width - zoom * width) / 2, (image.height - zoom * height) / 2
            x = reach_x + np.clip(2 * scale * position * np.cos(angle), -reach_x, reach_x)
            y = reach_y + np.clip(2 * scale * position * np.sin(angle), -reach_y, reach_y)
            box = (float(x), float(y), float(x + zoom * width), float(y + zoom * height))
            picture = image.resize((width, height), Image.Resampling.LANCZOS, box=box)
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=8, help="photographs to use, evenly spread over the sorted names")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = list_images(arguments.photos)
    for index in np.linspace(0, len(files) - 1, min(arguments.count, len(files))).round().astype(int):
        out = arguments.out / f"{files[index].stem}.mkv"
        random = np.random.default_rng(int(index))
        write_clip(files[index], out, arguments.frames, arguments.width, arguments.height, random)
        print(out)


if __name__ == "__main__":
    main()
