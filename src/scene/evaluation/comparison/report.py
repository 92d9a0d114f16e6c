"""What `scene compare` leaves: the documents of an evaluation, with files in the place of methods."""

from __future__ import annotations

import platform
from dataclasses import asdict

from scene import __version__
from scene.evaluation.comparison.files import ComparedFile, ComparedFiles
from scene.evaluation.report.results import FORMAT, Document, clip_entry
from scene.video.ffmpeg import FFmpeg


def results_document(compared: ComparedFiles, ffmpeg: FFmpeg, command: str) -> Document:
    """The content of results.json (format 1; see docs/evaluating.md).

    Args:
        command: the command line that repeats it.
    """
    reference = compared.reference
    return {
        "format": FORMAT,
        "environment": {
            "scene": __version__,
            "ffmpeg": ffmpeg.version,
            "platform": platform.platform(),
            "command": command,
            "recipe": {"frames": compared.recipe.frames, "halve_above": None, "gop_seconds": None},
            "clips": [clip_entry(reference, compared.recipe)],
            "methods": [{"method": file.clip.name, "identity": f"file:{file.clip.sha256}"} for file in compared.files],
            "codecs": [],
        },
        "points": [_point(file, compared) for file in compared.files],
        "bd_rate": [],
        "equal_crf": [],
        "treatments": [],
        "failures": [],
        "timing": None,
    }


def frames_document(compared: ComparedFiles) -> Document:
    """The content of frames.json: every frame's scores."""
    entries = [
        {
            "clip": compared.reference.name,
            "codec": file.video.codec,
            "method": file.clip.name,
            "crf": None,
            "scores": {name: list(values) for name, values in file.comparison.frames.items()},
        }
        for file in compared.files
    ]
    return {"format": FORMAT, "frames": entries}


def _point(file: ComparedFile, compared: ComparedFiles) -> Document:
    return {
        "clip": compared.reference.name,
        "codec": file.video.codec,
        "method": file.clip.name,
        "crf": None,
        "preset": None,
        "bytes": file.video.bytes,
        "kbps": round(file.kbps(compared.reference.rate), 3),
        "fps": float(compared.reference.rate),
        "width": compared.width,
        "height": compared.height,
        "bit_depth": compared.bit_depth,
        **asdict(file.comparison.scores),
    }
