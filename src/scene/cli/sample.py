"""The clip of `scene demo`, made on the spot: a print slides and turns over a table past which a camera pans.

It has what makes video hard to code and a zoom over one photograph has not: two planes that move at speeds of their
own, one of them turning and growing, and a camera's noise, new in every frame.

The table is `coffee` of scikit-image (Rachel Michetti, CC0). The print is the portrait of Grace Hopper that matplotlib
carries (U.S. Navy, public domain).
"""

from __future__ import annotations

import math
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from scene.video.encoders import DEFAULT_ENCODER, ENCODERS
from scene.video.ffmpeg import FFmpeg, input_name

if TYPE_CHECKING:
    from PIL import Image

WIDTH, HEIGHT, RATE, FRAMES = 384, 288, 24, 48
_TONE_HZ = 440

# Windows on the 600x400 table at the first and last frame: left, top, width.
_FIRST = (4.0, 60.0, 400.0)
_LAST = (154.0, 20.0, 370.0)

# The print has this many of its own pixels for each of the clip's, so that turning it leaves no jagged edges.
_FINER = 2
_PRINT_SIZE = (128, 150)
_BORDER = 5
_PAPER = (244, 242, 236)
_SHADOW, _SHADOW_SOFTNESS, _SHADOW_OFFSET = 0.55, 5, (5, 7)

# Standard deviations in 8-bit codes: of what the three colours share, and of each colour's own.
_NOISE, _COLOUR_NOISE = 3.0, 1.2


def table_window(number: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the table that frame `number` shows, in pixels of its photograph."""
    left, top, width = (a + (b - a) * _time(number) for a, b in zip(_FIRST, _LAST, strict=True))
    return left, top, left + width, top + width * HEIGHT / WIDTH


def print_place(number: int) -> tuple[float, float, float, float]:
    """Where the print lies in frame `number`: its centre in pixels, its angle in radians, its scale."""
    t = _time(number)
    return 310 - 190 * t, 170 - 20 * math.sin(3 * t), -0.25 + 0.45 * t, 1 + 0.25 * t


def make_sample(ffmpeg: FFmpeg, destination: Path) -> None:
    """Writes the clip: 48 frames of 384x288 at 24/s, nearly lossless H.264 in BT.709, and two seconds of AAC.

    Raises:
        ProcessError: ffmpeg failed.
    """
    import numpy as np

    table, card = _table(), _card()
    # The same noise each time, so that the demo's figures repeat.
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="scene-demo-") as folder:
        raw = Path(folder) / "frames.rgb"
        with raw.open("wb") as stream:
            for number in range(FRAMES):
                picture = np.asarray(_frame(table, card, number), np.float32)
                noise = random.normal(0, _NOISE, (HEIGHT, WIDTH, 1))
                noise = noise + random.normal(0, _COLOUR_NOISE, picture.shape)
                stream.write((picture + noise).round().clip(0, 255).astype(np.uint8).tobytes())
        ffmpeg.run(sample_arguments(raw, destination))


def sample_arguments(raw: Path, destination: Path) -> list[str]:
    """ffmpeg's arguments that turn RGB frames into the clip."""
    tone = f"sine=frequency={_TONE_HZ}:duration={FRAMES / RATE:g}"
    colour = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
    return [
        *("-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{WIDTH}x{HEIGHT}"),
        *("-framerate", str(RATE), "-i", input_name(raw), "-f", "lavfi", "-i", tone),
        *("-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd,format=yuv420p", *colour),
        *("-c:v", ENCODERS[DEFAULT_ENCODER].ffmpeg_name, "-preset", "medium", "-crf", "8", "-threads", "1"),
        *("-c:a", "aac", "-b:a", "96k", "-movflags", "+faststart", input_name(destination)),
    ]


def _time(number: int) -> float:
    """0 at the clip's first frame, 1 at frame 47, however many frames are made."""
    return number / 47


def _table() -> Image.Image:
    # Pillow comes with matplotlib.
    from PIL import Image

    photograph = resources.files(__package__).joinpath("pictures", "coffee.webp")
    with photograph.open("rb") as stream:
        return Image.open(stream).convert("RGB")


def _card() -> Image.Image:
    """The print with its border in RGBA, `_FINER` times as large as it is shown, in a margin of nothing."""
    import matplotlib
    from PIL import Image, ImageOps

    portrait = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    width, height = _PRINT_SIZE
    image = portrait.resize((width * _FINER, height * _FINER), Image.Resampling.LANCZOS)
    card = ImageOps.expand(image, _BORDER * _FINER, _PAPER)
    card.putalpha(255)
    return ImageOps.expand(card, 2 * _FINER, (*_PAPER, 0))


def _frame(table: Image.Image, card: Image.Image, number: int) -> Image.Image:
    """Frame `number` without noise, RGB."""
    from PIL import Image, ImageFilter

    # Boxes of fractional pixels, with the filter widened to the scale: no aliasing, no jumps.
    frame = table.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, table_window(number))
    x, y, angle, scale = print_place(number)
    cosine, sine = (function(angle) * _FINER / scale for function in (math.cos, math.sin))
    # From pixels of the frame to those of the card: PIL asks where each pixel comes from.
    across = (cosine, sine, card.width / 2 - cosine * x - sine * y)
    down = (-sine, cosine, card.height / 2 + sine * x - cosine * y)
    placed = card.transform(frame.size, Image.Transform.AFFINE, (*across, *down), Image.Resampling.BICUBIC)
    shape = placed.getchannel("A")
    shadow = shape.filter(ImageFilter.GaussianBlur(_SHADOW_SOFTNESS)).point(lambda value: round(value * _SHADOW))
    frame.paste((0, 0, 0), _SHADOW_OFFSET, shadow)
    frame.paste(placed.convert("RGB"), (0, 0), shape)
    return frame
