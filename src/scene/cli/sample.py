"""The clip of `scene demo`: a pan and zoom over a photograph, with a tone, made on the spot.

The photograph is the portrait of Grace Hopper that matplotlib carries (U.S. Navy, public domain).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from scene.video.encoders import DEFAULT_ENCODER, ENCODERS
from scene.video.ffmpeg import FFmpeg, input_name

WIDTH, HEIGHT, RATE, FRAMES = 384, 288, 24, 48
_TONE_HZ = 440

# Windows on the 512x606 photograph at the first and last frame: left, top, width. The last is one to one.
_FIRST = (4.0, 10.0, 504.0)
_LAST = (84.0, 34.0, 384.0)


def window(number: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what frame `number` shows, in pixels of the photograph; they move smoothly."""
    t = number / (FRAMES - 1)
    ease = t * t * (3 - 2 * t)
    left, top, width = (a + (b - a) * ease for a, b in zip(_FIRST, _LAST, strict=True))
    return left, top, left + width, top + width * HEIGHT / WIDTH


def make_sample(ffmpeg: FFmpeg, destination: Path) -> None:
    """Writes the clip: 48 frames of 384x288 at 24/s, nearly lossless H.264 in BT.709, and two seconds of AAC.

    Raises:
        ProcessError: ffmpeg failed.
    """
    # Pillow comes with matplotlib.
    import matplotlib
    from PIL import Image

    photograph = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    with tempfile.TemporaryDirectory(prefix="scene-demo-") as folder:
        raw = Path(folder) / "frames.rgb"
        with raw.open("wb") as stream:
            for number in range(FRAMES):
                # Boxes of fractional pixels, with the filter widened to the scale: no aliasing, no jumps.
                frame = photograph.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, window(number))
                stream.write(frame.tobytes())
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
