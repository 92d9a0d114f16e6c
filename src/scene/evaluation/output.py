"""The folder that an evaluation leaves: results.json, table.md and plots/."""

from __future__ import annotations

from pathlib import Path

from scene.errors import SceneError
from scene.evaluation.figure import write_figures
from scene.evaluation.results import Report, results_json
from scene.evaluation.table import table_markdown
from scene.files import write_atomically


def write_report(report: Report, folder: Path) -> list[Path]:
    """Writes all files of a report into `folder`, which is made if need be; returns them.

    Raises:
        SceneError: the folder cannot be written to.
    """
    try:
        plots = folder / "plots"
        plots.mkdir(parents=True, exist_ok=True)
        results, table = folder / "results.json", folder / "table.md"
        write_atomically(results, results_json(report))
        write_atomically(table, table_markdown(report))
        return [results, table, *write_figures(report, plots)]
    except OSError as error:
        raise SceneError(
            f"{error.filename or folder} cannot be written ({error.strerror}); give another folder with --out"
        ) from error
