"""A small evaluation made up for the report: two clips, two codecs, four methods, figures that a test can foresee."""

from __future__ import annotations

import functools
import io
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scene.evaluation.visuals.moving import film
from scene.evaluation.visuals.side_by_side import Moving, Pane, SideBySide
from scene.measure.raw_video import write_raw_video
from scene.picture import Picture, PictureFormat
from scene.video.ffmpeg import find_ffmpeg
from scene.video.rawvideo.y4m import Y4MHeader

HOSTILE = "<img src=x onerror=alert(1)>.mp4"
CLIPS = ("pan.mp4", HOSTILE)
CODECS = ("x264", "svtav1")
METHODS = ("none", "contrast:tuned", "unsharp", "scene")
CRFS = (20, 26, 32, 38, 44)
FRAMES = 12
MOVING_LUMA = {"source": 100, "none": 60, "scene": 90}
BD_METRICS = ("vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y", "xpsnr_y")
UNDEFINED_NOTE = "overlap 0.31 is below 0.5 </script><b>"


def point(clip: str, codec: str, method: str, crf: int) -> dict[str, Any]:
    level = CRFS.index(crf)
    number = METHODS.index(method)
    return {
        "clip": clip,
        "codec": codec,
        "method": method,
        "crf": crf,
        "preset": "medium",
        "bytes": 1000 * (6 - level),
        "kbps": round(3200 / 2**level * (1 + 0.02 * number), 3),
        "fps": 25.0,
        "width": 320,
        "height": 240,
        "bit_depth": 8,
        "vmaf": 96 - 9 * level + 2 * number,
        "vmaf_clipped": min(100, 96 - 9 * level + 2 * number),
        "vmaf_neg": 95 - 9 * level + 0.5 * number,
        "vmaf_v1": 94 - 9 * level + 0.25 * number,
        "ms_ssim": 0.995 - 0.01 * level + 0.001 * number,
        "psnr_y": 44 - 3 * level - 0.5 * number,
        "xpsnr_y": 43 - 3 * level - 0.4 * number,
        "cambi": 0.5 + 0.2 * level,
        "flicker": None if clip == "pan.mp4" else 0.1 * number,
        "frames": FRAMES,
    }


def bd_rows() -> list[dict[str, Any]]:
    """Rows of the clips and their means; x264, unsharp, PSNR has no value, svtav1, scene, PSNR one of one clip."""
    rows: list[dict[str, Any]] = []
    for codec in CODECS:
        for method in METHODS[1:]:
            for metric in BD_METRICS:
                common = {"codec": codec, "method": method, "anchor": "none", "metric": metric}
                values = [-4.0 * METHODS.index(method) - BD_METRICS.index(metric) + 9 * i for i in range(2)]
                missing = {("x264", "unsharp", "psnr_y"): 2, ("svtav1", "scene", "psnr_y"): 1}.get(
                    (codec, method, metric), 0
                )
                kept = values[: 2 - missing]
                for index, clip in enumerate(CLIPS):
                    percent = values[index] if index < len(kept) else None
                    note = UNDEFINED_NOTE if percent is None else ""
                    rows.append(
                        {"clip": clip, **common, "percent": percent, "overlap": 0.8, "note": note, "bd_quality": 1.5}
                    )
                rows.append(
                    {
                        "clip": "mean",
                        **common,
                        "percent": sum(kept) / len(kept) if kept else None,
                        "median": sum(kept) / len(kept) if kept else None,
                        "worst": max(kept) if kept else None,
                        "worst_clip": CLIPS[kept.index(max(kept))] if kept else None,
                        "clips": len(kept),
                        "of_clips": 2,
                        "overlap": 0.8,
                        "note": f"{CLIPS[1]}: {UNDEFINED_NOTE}" if missing else "",
                        "bd_quality": 1.5,
                    }
                )
    return rows


def results() -> dict[str, Any]:
    grid = [(clip, codec, method, crf) for clip in CLIPS for codec in CODECS for method in METHODS for crf in CRFS]
    shift = {"vmaf": 4.0, "vmaf_neg": 1.0, "vmaf_v1": 0.5, "ms_ssim": 0.002, "psnr_y": -1.0, "xpsnr_y": -0.8}
    return {
        "format": 1,
        "environment": {
            "scene": "0.1.0",
            "ffmpeg": "n9.0.2",
            "platform": "Linux",
            "command": f"scene evaluate pan.mp4 '{HOSTILE}' --codecs x264,svtav1",
            "recipe": {"frames": FRAMES, "halve_above": 640, "gop_seconds": 2},
            "clips": [
                {"clip": c, "sha256": "0" * 64, "fps": 25.0, "source_size": [320, 240], "measured_size": [320, 240]}
                for c in CLIPS
            ],
            "methods": [
                {"method": "none", "identity": "none"},
                {"method": "contrast:tuned", "identity": "contrast:1.08"},
                {"method": "unsharp", "identity": "unsharp:5:5:0.3"},
                {"method": "scene", "identity": "network:f0b3f2f4a1ed:strength=1:v1"},
            ],
            "codecs": [
                {"codec": c, "encoder": f"lib{c}", "version": "1", "preset": "medium", "crf": list(CRFS)}
                for c in CODECS
            ],
        },
        "points": [point(*entry) for entry in grid],
        "bd_rate": bd_rows(),
        "equal_crf": [
            {"clip": clip, "codec": codec, "method": method, "anchor": "none", "rate_percent": 2.0, **shift}
            | {"cambi": 0.1, "flicker": None}
            for clip in (*CLIPS, "mean")
            for codec in CODECS
            for method in METHODS[1:]
        ],
        "treatments": [
            {"clip": clip, "method": method, "codecs": ["x264"] if method == "contrast:tuned" else None}
            | {"gain": 1.08, "offset": -10.2, "clipped": 0.012, "vmaf_gain": 6.0, "affine_gain": 5.4}
            | {"affine_share": 0.9, "cambi": 0.02, "flicker": None}
            for clip in CLIPS
            for method in METHODS[1:]
        ],
        "timing": {"wall_seconds": 100.0, "encode_seconds": 70.0, "compare_seconds": 120.0, "jobs": 2, "points": 80},
        "failures": [{"clip": HOSTILE, "method": "scene", "codec": "x264", "crf": 44, "reason": "it <b>broke</b>"}],
    }


def frames() -> dict[str, Any]:
    return {
        "format": 1,
        "frames": [
            {
                **{name: entry[name] for name in ("clip", "codec", "method", "crf")},
                "scores": {
                    name: [entry[name] + (0.1 if number % 2 else -0.1) for number in range(FRAMES)]
                    for name in (*BD_METRICS, "cambi")
                },
            }
            for entry in results()["points"]
        ],
    }


@functools.cache
def moving() -> Moving:
    """Flat pictures of which each version has its own luma, and that brighten by 4 codes a frame."""
    fmt = PictureFormat(160, 120)
    with tempfile.TemporaryDirectory() as name:
        videos = []
        for label, luma in MOVING_LUMA.items():
            planes = [[np.full(shape, 128, np.uint8) for shape in fmt.plane_shapes] for _ in range(FRAMES)]
            for number, (own, *_) in enumerate(planes):
                own[:] = luma + 4 * number
            pictures = [Picture(fmt, tuple(own)) for own in planes]
            videos.append(write_raw_video(Path(name) / f"{label}.y4m", Y4MHeader(fmt, Fraction(24)), pictures))
        place = {"frame": 7, "crop": (80, 80, 80, 60), "folder": Path(name)}
        made = film(find_ffmpeg(), videos, list(MOVING_LUMA), Fraction(24), **place)
    assert made is not None
    return made


def side_by_sides() -> list[SideBySide]:
    colours = {"source": "#808080", "none": "#a02020", "scene": "#20a020"}
    return [
        SideBySide(
            clip=clip,
            codec="x264",
            frame=7,
            width=320,
            height=240,
            crop=(80, 80, 80, 60),
            panes=tuple(
                Pane(
                    label,
                    f"{label} at 500 kbit/s",
                    _picture(colour, 320, 240, "WEBP"),
                    _picture(colour, 80, 60, "WEBP"),
                )
                for label, colour in colours.items()
            ),
            note="CRF 32 of the codec alone.",
            moving=moving() if clip == CLIPS[0] else None,
        )
        for clip in CLIPS
    ]


def comparison() -> dict[str, Any]:
    """What `scene compare` writes."""
    points = []
    for method, codec in (("a.mkv", "h264"), (HOSTILE, "av1")):
        points.append({**point("ref.y4m", "x264", "none", 26), "method": method, "codec": codec, "crf": None})
    return {
        "format": 1,
        "environment": {"scene": "0.1.0", "ffmpeg": "n9.0.2", "platform": "Linux", "command": "scene compare"},
        "points": points,
        "bd_rate": [],
        "failures": [],
    }


def comparison_frames() -> dict[str, Any]:
    entries = []
    for number, (method, codec) in enumerate((("a.mkv", "h264"), (HOSTILE, "av1"))):
        scores = {"vmaf": [80.0 + number + frame for frame in range(FRAMES)]}
        entries.append({"clip": "ref.y4m", "codec": codec, "method": method, "crf": None, "scores": scores})
    return {"format": 1, "frames": entries}


def _picture(colour: str, width: int, height: int, kind: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(sink, kind)
    return sink.getvalue()
