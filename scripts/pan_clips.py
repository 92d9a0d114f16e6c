"""Turns photographs into short lossless clips with a slow pan and zoom: held-out material for `scene evaluate`.

python scripts/pan_clips.py PHOTOS OUT --count 8 --frames 24 --width 640 --height 360
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av

from scene.training.data.frames import Image
from scene.training.data.images import list_images, read_image
from scene.training.data.pan import pan, spread


def write_clip(frames: Iterable[Image], out: Path, width: int, height: int) -> None:
    """Codes (height, width, 3) uint8 RGB frames losslessly, after their conversion to 4:2:0."""
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(24), options={"qp": "0", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
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
    for index in spread(len(files), arguments.count):
        out = arguments.out / f"{files[index].stem}.mkv"
        frames = pan(read_image(files[index]), arguments.frames, arguments.width, arguments.height, seed=index)
        write_clip(frames, out, arguments.width, arguments.height)
        print(out)


if __name__ == "__main__":
    main()
