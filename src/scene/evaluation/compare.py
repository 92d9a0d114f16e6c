"""Files that were made elsewhere against their source: the same measurements, and the same documents."""

from __future__ import annotations

import os
from dataclasses import dataclass

from scene.evaluation.comparison.files import ComparedFiles, compare_files, open_files
from scene.evaluation.comparison.report import frames_document, results_document
from scene.evaluation.report.markdown import results_markdown
from scene.evaluation.report.results import Document
from scene.evaluation.requests import CompareRequest
from scene.measure.clip import Recipe, require_measurable
from scene.progress import OnProgress, silent
from scene.video.ffmpeg import find_ffmpeg


@dataclass(frozen=True, slots=True)
class CompareResult:
    """What came of a comparison.

    Attributes:
        compared: the files with their scores.
        results, frames: the content of results.json and frames.json.
    """

    compared: ComparedFiles
    results: Document
    frames: Document

    @property
    def table(self) -> str:
        """The text of table.md."""
        return results_markdown(self.results)


def compare(request: CompareRequest, on_progress: OnProgress = silent) -> CompareResult:
    """Measures encoded files against their source, frame n against frame n.

    Args:
        on_progress: counts files.

    Raises:
        UsageError: a file is given twice, or is not of the reference's size.
        InputError: a file is missing, holds no video that can be decoded, or one too small for the metrics.
        VerificationError: a file has more or fewer frames than the reference.
        MissingError: there is no ffmpeg, or it lacks libvmaf.
    """
    reference, distorted = open_files(request.reference, request.distorted)
    require_measurable([reference], Recipe(request.frames))
    program = find_ffmpeg(request.ffmpeg)
    cores = os.cpu_count() or 1
    jobs = min(request.jobs or cores, len(distorted))
    compared = compare_files(
        *(program, reference, distorted),
        frames=request.frames,
        side_by_side=request.side_by_side,
        jobs=jobs,
        threads=max(1, cores // jobs),
        on_progress=on_progress,
    )
    return CompareResult(compared, results_document(compared, program, request.command), frames_document(compared))
