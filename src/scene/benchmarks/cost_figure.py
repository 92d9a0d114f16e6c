"""What savings cost, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scene.benchmarks.cost import Cost
from scene.options import BYPASS

_TITLES = {"vmaf_neg": "VMAF NEG", "vmaf_v1": "VMAF v1"}


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Writes a PNG: for each encoder, processor time across and rate saved upwards, by two metrics."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    anchors = list(dict.fromkeys(cost.anchor for cost in costs))
    figure = Figure(figsize=(6 * len(_TITLES), 4.4 * len(anchors)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(anchors), len(_TITLES), squeeze=False)
    for row, anchor in zip(axes, anchors, strict=True):
        for plot, (metric, title) in zip(row, _TITLES.items(), strict=True):
            for cost in (cost for cost in costs if cost.anchor == anchor):
                percent = cost.percent[metric]
                if percent is None:
                    continue
                own = cost.codec == anchor
                label = cost.method if own else cost.codec if cost.method == BYPASS else f"{cost.codec}, {cost.method}"
                colour = "black" if cost.method == BYPASS and own else "tab:blue" if own else "tab:orange"
                plot.plot(cost.ratio, -percent, "o", color=colour)
                plot.annotate(label, (cost.ratio, -percent), xytext=(5, 3), textcoords="offset points", fontsize=7)
            plot.set_xscale("log")
            plot.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            plot.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            plot.tick_params(axis="x", which="both", labelsize=7)
            plot.margins(x=0.2, y=0.1)
            plot.grid(alpha=0.3)
            plot.axhline(0, color="grey", linewidth=0.8)
            plot.set_xlabel(f"processor time, times that of {anchor} alone")
            plot.set_ylabel(f"rate saved at equal {title}, %")
    figure.savefig(path, dpi=110, metadata={"Software": None})
