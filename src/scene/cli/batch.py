"""`scene batch`: a catalogue of files, each isolated from the failures of the others."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from scene.cli.console import LogFormat
from scene.cli.encode_options import EncodeOptions, request_of


def batch(
    src: Annotated[Path, Parameter(name="DIR|LIST")],
    /,
    *,
    out: Path,
    workers: int | None = None,
    settings: Path | None = None,
    options: Annotated[EncodeOptions, Parameter(name="*")] = EncodeOptions(),  # noqa: B008
    log_format: LogFormat = "text",
) -> None:
    """Enhance and encode many files, each in a process of its own, and say what became of each.

    A file that fails, crashes or is killed does not stop the others; the exit code is 1 then. Run again, it leaves
    alone the files whose source, settings and output have not changed since. A table, OUT/batch.json and OUT/batch.html
    say what became of each.

    Args:
        src: A folder, of which all videos are taken, at any depth, or a text file with one path a line.
        out: Folder for the outputs, which keep the folders that they are in below DIR, or in the lines of LIST. Each
            source keeps its name, with .mp4 and .mov where those can hold the codec, else with .mkv.
        workers: How many files to encode at a time. By default one for every four cores.
        settings: TOML file with options of `scene encode` for the files whose paths fit a pattern.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import setup_logging

    setup_logging(log_format)
    import scene
    from scene.cli.batch_display import batch_display
    from scene.cli.batch_report import failures_in_words, fields, table_text, with_option_names
    from scene.cli.batch_settings import fits, read_settings
    from scene.cli.console import announce, command_line
    from scene.errors import SceneError
    from scene.jobs.batch.destinations import Placed, outputs_below
    from scene.jobs.batch.report import PAGE_NAME, write_report
    from scene.jobs.batch.sources import find_sources

    found = find_sources(src, out)
    file = None if settings is None else read_settings(settings)
    wanted = [options if file is None else file.options_of(one.name, options) for one in found.files]
    placed = [Placed(one.path, one.name, o.settings.codec) for one, o in zip(found.files, wanted, strict=True)]
    requests = tuple(
        request_of(one.source, output, o)
        for one, output, o in zip(placed, outputs_below(out, placed), wanted, strict=True)
    )
    logger = logging.getLogger("scene")
    if found.others:
        logger.info("%s: files that are not taken for videos: %d.", src, found.others)
    for pattern in () if file is None else file.tables:
        if not any(fits(one.name, pattern) for one in found.files):
            logger.warning("%s: no file fits [%s].", settings, json.dumps(pattern))
    with batch_display(requests, log_format) as on_news:
        result = with_option_names(scene.batch(scene.BatchRequest(requests, out, workers), on_news))
    if log_format == "text":
        print(table_text(result), end="")
    try:
        write_report(result, out, command_line())
    except OSError as error:
        raise SceneError(f"the report cannot be written into {out}: {error.strerror}.") from None
    there = fields(result)
    announce(f"{there['encoded']} of {there['files']} files are in {out}; see {out / PAGE_NAME}.", there)
    if failed := failures_in_words(result):
        raise SceneError(failed)
