"""The folder that an evaluation or a comparison leaves: results.json, frames.json, table.md, plots/ and report.html."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scene.errors import SceneError
from scene.evaluation.compare import CompareResult
from scene.evaluation.page import page_html
from scene.evaluation.report.figures import write_figures
from scene.evaluation.report.markdown import results_markdown
from scene.evaluation.report.results import (
    Report,
    frames_document,
    frames_json,
    json_text,
    results_document,
    results_json,
)
from scene.evaluation.visuals.side_by_side import SideBySide
from scene.files import write_atomically


def write_report(report: Report, folder: Path) -> list[Path]:
    """Writes all files of a report but report.html into `folder`, which is made if need be; returns them.

    Raises:
        SceneError: the folder cannot be written to.
    """
    results = results_document(report)
    with _writing_to(folder):
        plots = folder / "plots"
        plots.mkdir(parents=True, exist_ok=True)
        texts = {
            folder / "results.json": results_json(report),
            folder / "frames.json": frames_json(report),
            folder / "table.md": results_markdown(results),
        }
        for path, text in texts.items():
            write_atomically(path, text)
        return [*texts, *write_figures(results, plots)]


def write_html(
    report: Report, side_by_sides: Sequence[SideBySide], folder: Path, regions: Sequence[bytes | None] = ()
) -> Path:
    """Writes report.html into `folder`, which is made if need be; returns the file.

    Args:
        regions: see `page_html`.

    Raises:
        SceneError: the folder cannot be written to.
    """
    path = folder / "report.html"
    text = page_html(results_document(report), frames_document(report), side_by_sides, regions)
    with _writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    return path


def write_comparison(result: CompareResult, folder: Path) -> list[Path]:
    """Writes results.json, frames.json, table.md and report.html into `folder`, which is made if need be.

    Raises:
        SceneError: the folder cannot be written to.
    """
    contents = {
        "results.json": json_text(result.results),
        "frames.json": json_text(result.frames),
        "table.md": result.table,
        "report.html": page_html(result.results, result.frames, result.compared.side_by_sides),
    }
    with _writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomically(folder / name, content)
    return [folder / name for name in contents]


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SceneError(
            f"{error.filename or folder} cannot be written ({error.strerror}); give another folder with `out`"
        ) from error
