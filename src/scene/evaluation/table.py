"""table.md: the mean BD-rates, in the shape of the paper's Table 1, with the protocol beneath."""

from __future__ import annotations

from scene.evaluation.results import Report
from scene.evaluation.summary import MeanRow

_COLUMNS = {
    "ms_ssim": "MS-SSIM",
    "vmaf": "VMAF",
    "vmaf_neg": "VMAF_NEG",
    "vmaf_v1": "VMAF v1",
    "psnr_y": "PSNR",
    "xpsnr_y": "XPSNR",
}


def table_rows(report: Report) -> list[list[str]]:
    """Header and one row for each codec and method: mean BD-rate and, in brackets, the worst clip's."""
    means = {(row.codec, row.method, row.metric): row for row in report.means}
    rows = [["Codec", "Method", *_COLUMNS.values()]]
    for run in report.grid.codecs:
        for method in report.grid.methods[1:]:
            if not method.serves(run.codec.name):
                continue
            cells = [means.get((run.codec.name, method.label, metric)) for metric in _COLUMNS]
            rows.append([run.codec.name, method.label, *(_cell(row) for row in cells)])
    return rows


def table_markdown(report: Report) -> str:
    """The text of table.md."""
    header, *body = table_rows(report)
    lines = [
        "# BD-rate (%) against encoding without a pre-processor",
        "",
        "Mean over clips, worst clip in brackets. Negative is a saving. VMAF is unclipped v0.6.1.",
        "",
        _line(header),
        _line(["---"] * 2 + ["---:"] * len(_COLUMNS)),
        *(_line([_escape(cell) for cell in row]) for row in body),
        "",
        *(f"- {line}" for line in _remarks(report)),
        "",
        *(f"- {_escape(line)}" for line in protocol_lines(report)),
    ]
    if report.command:
        # Four spaces, not a fence: nothing in a file name can end such a block.
        lines += ["", "To repeat:", "", f"    {report.command}"]
    return "\n".join(lines) + "\n"


def protocol_lines(report: Report) -> list[str]:
    """What was measured, with what."""
    grid = report.grid
    frames = "all frames" if grid.recipe.frames is None else f"first {grid.recipe.frames} frames"
    halved = grid.recipe.halve_above
    sizes = "at their own size" if halved is None else f"those above {halved} lines halved (Lanczos)"
    lines = [
        f"{len(grid.clips)} clip{'s' * (len(grid.clips) > 1)}, {frames}, {sizes}: "
        + ", ".join(f"{clip.name} ({'x'.join(map(str, grid.recipe.size(clip)))})" for clip in grid.clips)
    ]
    for run in grid.codecs:
        version = report.measured.encoders[run.codec.name]
        crfs = ", ".join(f"{crf:g}" for crf in run.crfs)
        lines.append(f"{run.codec.name} {version}: preset {run.preset}, CRF {crfs}, GOP 2 s, one thread")
    lines.append(f"ffmpeg {report.ffmpeg}; rate is that of the elementary stream")
    lines += [f"{method.label} is {method.identity}" for method in grid.methods if method.identity != method.label]
    return lines


def _remarks(report: Report) -> list[str]:
    """What limits the figures: clips without a value, curves that overlap little, failed points."""
    remarks = []
    for row in report.means:
        if row.clips < row.of_clips:
            remarks.append(
                f"{row.codec}, {row.method}, {_COLUMNS[row.metric]}: "
                f"{row.clips} of {row.of_clips} clips ({_escape(row.note)})"
            )
    flagged = sum(1 for row in report.rows if row.percent is not None and row.note)
    if flagged:
        remarks.append(
            f"{flagged} of {len(report.rows)} per-clip values have a note (overlap below 0.75, or points "
            "left out): see results.json"
        )
    if report.measured.failures:
        remarks.append(f"{len(report.measured.failures)} points could not be measured: see results.json")
    return remarks or ["Every clip counts in every figure."]


def _cell(row: MeanRow | None) -> str:
    if row is None or row.percent is None or row.worst is None:
        return "N/A"
    mark = "" if row.clips == row.of_clips else f" [{row.clips}/{row.of_clips}]"
    return f"{row.percent:+.1f} ({row.worst:+.1f}){mark}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    for special in "\\`*_|<>[]":
        text = text.replace(special, f"\\{special}")
    return text
