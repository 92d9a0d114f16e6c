"""Rate-distortion figures, one for each codec, in the manner of the paper's Fig. 3."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from scene.evaluation.report.looks import COLOURS, colour_of, looks
from scene.evaluation.report.results import Document

_PANELS = {"vmaf_neg": "VMAF NEG", "ms_ssim": "MS-SSIM", "vmaf_clipped": "VMAF, clipped at 100"}
_STYLES = ("o-", "s--", "^:", "D-.", "v-", "P--", "X--", "h-.", "*--")


def write_figures(results: Document, folder: Path) -> list[Path]:
    """Draws rd_CODEC.png for every codec of a results document into `folder`; returns the files.

    One clip is drawn at its bitrate. Several are drawn as the mean over clips at equal CRF, of the score and of
    the logarithm of the bitrate relative to the unprocessed clip's own (its geometric mean over the CRFs), so
    that every clip counts the same. Only clips with every point of the codec are drawn.
    """
    codecs = [entry["codec"] for entry in results["environment"]["codecs"]]
    return [path for codec in codecs if (path := _write_figure(results, codec, folder / f"rd_{codec}.png"))]


def mean_curve(points: Sequence[Document], anchors: Sequence[Document], metric: str) -> tuple[list[float], list[float]]:
    """Rates and scores of one method by rising CRF, averaged over clips as `write_figures` says.

    Args:
        points: of a results document, of one codec and method.
        anchors: of the same codec without pre-processing; of several clips, rates are relative to these.
    """
    clips = {point["clip"] for point in points}
    scale = {clip: statistics.geometric_mean(p["kbps"] for p in anchors if p["clip"] == clip) for clip in clips}
    if len(clips) == 1:
        scale = dict.fromkeys(clips, 1.0)
    rates, scores = [], []
    for crf in sorted({point["crf"] for point in points}):
        level = [point for point in points if point["crf"] == crf]
        rates.append(statistics.geometric_mean(point["kbps"] / scale[point["clip"]] for point in level))
        scores.append(statistics.fmean(point[metric] for point in level))
    return rates, scores


def _write_figure(results: Document, codec: str, path: Path) -> Path | None:
    # The object interface without pyplot: no global state, no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    failed = {failure["clip"] for failure in results["failures"] if failure["codec"] == codec}
    points = [p for p in results["points"] if p["codec"] == codec and p["clip"] not in failed]
    if not points:
        return None
    clips = sorted({point["clip"] for point in points})
    curves: dict[str, list[Document]] = {}
    for point in points:
        curves.setdefault(point["method"], []).append(point)
    look = looks(results)
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (metric, title) in zip(figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True):
        for method, own in curves.items():
            rates, scores = mean_curve(own, curves["none"], metric)
            label = f"{codec} only" if method == "none" else method
            colour = COLOURS[colour_of(look[method])][0]
            # Dollar signs in a file name would start a formula.
            label = label.replace("$", r"\$")
            style = _STYLES[look[method] % len(_STYLES)]
            axes.plot(rates, scores, style, color=colour, label=label, markersize=4)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(_rate_ticks())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("bitrate (kbit/s)" if len(clips) == 1 else "bitrate relative to the clip's mean")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3, which="both")
    figure.axes[0].legend()
    what = clips[0] if len(clips) == 1 else f"mean of {len(clips)} clips at equal CRF"
    figure.suptitle(f"{codec}: {what}".replace("$", r"\$"))
    figure.savefig(path, dpi=130)
    return path


def _rate_ticks() -> object:
    from matplotlib.ticker import LogLocator

    return LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12)
