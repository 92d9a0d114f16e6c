"""Makes docs/results.md, the table in README.md and the figures in docs/images from the files in docs/results.

    python scripts/make_results.py

results.template.md beside this file is the page's text; `{{ NAME ARGUMENT... }}` in it stands for what the function
NAME of this file's `PARTS` makes of its arguments, the first of which names a folder of docs/results. No figure of a
measurement is typed by hand, so that the page cannot disagree with the files. Neither torch nor an encoder is needed.
"""

from __future__ import annotations

import json
import re
import shlex
import statistics
import textwrap
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from scene.benchmarks.cost import Cost
from scene.benchmarks.cost_figure import draw
from scene.evaluation.report.figures import write_figures
from scene.evaluation.report.markdown import (
    BD_RATE_LEGEND,
    DETAIL_LEGEND,
    EFFECT_LEGEND,
    EQUAL_CRF_LEGEND,
    escape,
    markdown_lines,
    table_lines,
)
from scene.evaluation.report.provenance import protocol_lines
from scene.evaluation.report.remarks import remarks
from scene.evaluation.report.results import Document
from scene.evaluation.report.table import Table
from scene.evaluation.report.tables import bd_rate_table, detail_table, effect_table, equal_crf_table
from scene.files import write_atomically
from scene.metrics.scores import METRICS

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("<!-- results -->", "<!-- /results -->")
COST_MARKS = ("<!-- cost -->", "<!-- /cost -->")

_TITLES = {metric.name: metric.title for metric in METRICS}
# The paper's names and ours.
_CODECS = {"H.264": "x264", "H.265": "x265", "AV1": "svtav1"}
_METHODS = {"AsConvSR": "asconvsr", "SCENE": "scene"}
_PAPER_METRICS = ("ms_ssim", "vmaf", "vmaf_neg")
# What is hard to fake comes first.
_README_METRICS = ("vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y", "vmaf")
_README_METHOD = "scene-lite"
# What an engineer would do instead stands beside it.
_README_COSTS = ("scene-fast", "scene-lite", "tune=ssim", "preset=slower", "none")
# Of the speeds of networks of several sizes: key, divisor, format.
_SIZE_COLUMNS = (("parameters", 1, ",.0f"), ("flops", 2e9, ".1f"), ("torch_ms", 1, ".1f"), ("fastest_ms", 1, ".1f"))
_SIZE_METRICS = ("vmaf_neg", "vmaf_v1", "ms_ssim")
# What the project aims at, mean BD-rates in %.
_AIMS = {
    "scene-lite": {
        "x264": {"vmaf": -28, "vmaf_neg": -15, "vmaf_v1": -12, "ms_ssim": -8, "psnr_y": 0, "xpsnr_y": 0},
        "x265": {"vmaf": -33, "vmaf_neg": -18, "vmaf_v1": -16, "ms_ssim": -10, "psnr_y": 0, "xpsnr_y": 0},
        "svtav1": {"vmaf": -24, "vmaf_neg": -9, "vmaf_v1": -9, "ms_ssim": -5, "psnr_y": 0, "xpsnr_y": 0},
    },
    "scene-faithful": {
        "x264": {"vmaf_neg": -8, "vmaf_v1": -8, "ms_ssim": -5, "psnr_y": -3, "xpsnr_y": -3},
        "x265": {"vmaf_neg": -10, "vmaf_v1": -10, "ms_ssim": -7, "psnr_y": -3, "xpsnr_y": -3},
    },
}
_FILTERS = ("contrast", "contrast:1.10", "contrast:tuned")
# Headings, tables, lists, code and pictures: everything but paragraphs.
_SET = re.compile(r"#|\||- |    |!\[")
_SHOWS = {
    "bbb_1080p60.mp4": "animation, a cut",
    "blocks_720p30.mp4": "letters, hands, static camera",
    "calendar_576p25.mkv": "text and fine print",
    "flower_720p30.264": "fine texture, hand-held",
    "goat_480p24.mkv": "fur, rocks",
    "juggle_720p24.mp4": "person, grass, static camera",
    "market_720p15.mkv": "people, text, strong motion",
    "redtree_drive_1080p25.264": "foliage, signs, global motion",
}


def results_page(root: Path) -> str:
    """The text of docs/results.md for a checkout.

    Raises:
        KeyError: the template names a part or a folder that there is not.
    """
    template = (root / "scripts" / "results.template.md").read_text(encoding="utf-8")

    def fill(match: re.Match[str]) -> str:
        name, folder, *arguments = match[1].split()
        return PARTS[name](_load(root, folder), *arguments)

    blocks = re.sub(r"\{\{ (.+?) \}\}", fill, template).split("\n\n")
    return "\n\n".join(block if _SET.match(block) else _filled(block) for block in blocks) + "\n"


def readme_page(root: Path) -> str:
    """The text of README.md with its table of results made anew; the same text where it has no marks for one."""
    text = (root / "README.md").read_text(encoding="utf-8")
    if MARKS[0] in text:
        results = _load(root, "clips")
        made = f"{_lines(readme_table(results), 1)}\n\n{_filled(readme_sentence(results))}"
        text = _between(text, MARKS, made)
    return _between(text, COST_MARKS, cost(_load(root, "cost"), *_README_COSTS)) if COST_MARKS[0] in text else text


def _between(text: str, marks: tuple[str, str], made: str) -> str:
    head, start, rest = text.partition(marks[0])
    _, end, tail = rest.partition(marks[1])
    return f"{head}{start}\n{made}\n{end}{tail}" if end else text


def readme_table(results: Document) -> list[list[str]]:
    """Mean BD-rates (worst clip) of the default model, a row for each codec."""
    clips = len(results["environment"]["clips"])
    table = [[f"BD-rate, %, mean of {clips} clips (worst)", *(_TITLES[name] for name in _README_METRICS)]]
    for entry in results["environment"]["codecs"]:
        cells = [_mean(results, entry["codec"], _README_METHOD, metric) for metric in _README_METRICS]
        if any(cells):
            table.append([entry["codec"], *(_cell(cell, worst=True) for cell in cells)])
    return table


def readme_sentence(results: Document) -> str:
    """On how many clips the default model makes VMAF NEG worse."""
    counts = []
    for entry in results["environment"]["codecs"]:
        values = _clip_percents(results, entry["codec"], _README_METHOD, "vmaf_neg")
        if values:
            counts.append(f"{_count_worse(values)} with {entry['codec']}")
    return f"Clips on which VMAF NEG gets worse: {_listed(counts)}."


def command(results: Document) -> str:
    """The command that made a document, its clips as one pattern, in lines that fit a page."""
    environment = results["environment"]
    words = shlex.split(environment["command"])
    names = {clip["clip"] for clip in environment["clips"]}
    given = [word for word in words if PurePosixPath(word).name in names]
    folders = {str(PurePosixPath(word).parent) for word in given}
    shown = [shlex.quote(word) for word in words if word not in given]
    if len(given) == len(names) and len(folders) == 1:
        shown.insert(2, f"{folders.pop()}/*")
    else:
        shown[2:2] = map(shlex.quote, given)
    lines = ["   "]
    for word in shown:
        if len(lines[-1]) + len(word) > 108 and word.startswith("--"):
            lines[-1] += " \\"
            lines.append("         ")
        lines[-1] += f" {word}"
    return "\n".join(lines)


def paper_table(results: Document) -> str:
    """The paper's Table 1 with the same figures of this project beside it, and those of a contrast knob."""
    header = ["Codec", "Method", *(f"{_TITLES[m]}, {whose}" for m in _PAPER_METRICS for whose in ("paper", "here"))]
    table = [header]
    rows = _paper()["bd_rate"]
    for theirs, codec in _CODECS.items():
        for row in (row for row in rows if row["codec"] == theirs):
            method = _METHODS[row["method"]]
            here = [_cell(_mean(results, codec, method, metric)) for metric in _PAPER_METRICS]
            paper = ["N/A" if row[metric] is None else f"{row[metric]:+}" for metric in _PAPER_METRICS]
            table.append(
                [f"{theirs}, {codec}", method, *(cell for pair in zip(paper, here, strict=True) for cell in pair)]
            )
        for method in _FILTERS:
            cells = [_mean(results, codec, method, metric) for metric in _PAPER_METRICS]
            if any(cells):
                shown = [text for cell in cells for text in ("", _cell(cell))]
                table.append([f"{theirs}, {codec}", escape(method), *shown])
    return _lines(table)


def build(results: Document) -> str:
    """Which encoder build a document's figures are of."""
    return (
        f"The encoders are those of PyAV {results['environment']['pyav']}: the build, and but for the parameters "
        "[printed below](#the-clips) the defaults, that `scene encode` uses."
    )


def direct(results: Document) -> str:
    """SCENE against AsConvSR by VMAF: the paper's section 3.5 and here."""
    words = []
    for theirs, codec in _CODECS.items():
        paper = _paper()["scene_against_asconvsr"].get(theirs)
        row = _mean(results, codec, "scene", "vmaf", anchor="asconvsr")
        if row is not None:
            beside = "the paper gives none" if paper is None else f"in the paper {paper:+.1f}"
            words.append(f"{_cell(row)} with {codec} ({beside})")
    if not words:
        return ""
    return f"Directly against `asconvsr`, the VMAF BD-rate of `scene` in % is {_listed(words)}."


def fewer(results: Document, first: str, second: str) -> str:
    """In how many of the mean BD-rates one method is below another."""
    pairs = []
    for row in results["bd_rate"]:
        if (row["clip"], row["method"], row["anchor"]) == ("mean", first, "none") and row["percent"] is not None:
            other = _mean(results, row["codec"], second, row["metric"])
            if other is not None and other["percent"] is not None:
                pairs.append(row["percent"] < other["percent"])
    return f"{sum(pairs)} of {len(pairs)}"


def knob(results: Document, method: str) -> str:
    """How the VMAF saving of a method compares with that of the fixed contrast knob, codec by codec."""
    words = []
    for entry in results["environment"]["codecs"]:
        own, filtered = (_mean(results, entry["codec"], name, "vmaf") for name in (method, "contrast"))
        if own is not None and filtered is not None:
            words.append(f"{_cell(own)} against {_cell(filtered)} with {entry['codec']}")
    return _listed(words)


def weakest(results: Document, method: str, metric: str) -> str:
    """The clip on which a method is at its worst, codec by codec."""
    clips: dict[str, list[str]] = {}
    for entry in results["environment"]["codecs"]:
        row = _mean(results, entry["codec"], method, metric)
        if row is not None and row["worst"] is not None:
            clips.setdefault(row["worst_clip"], []).append(f"{row['worst']:+.1f} with {row['codec']}")
    return _listed(f"`{clip}` ({', '.join(values)})" for clip, values in clips.items())


def gains(results: Document, codec: str, method: str) -> str:
    """What a method does to VMAF and the rate with one codec: BD-rate, BD-quality and equal CRF in one sentence."""
    row = _mean(results, codec, method, "vmaf")
    if row is None:
        return f"Here {codec} has not been measured with the present weights."
    text = f"Here the VMAF BD-rate of `{method}` is {_cell(row)} %"
    if row.get("bd_quality") is not None:
        text += f", at equal rate VMAF changes by {row['bd_quality']:+.1f} points"
    for entry in results.get("equal_crf", []):
        if all(entry[key] == value for key, value in _place("mean", codec, method, "none").items()):
            text += f", and at equal CRF the rate changes by {entry['rate_percent']:+.1f} %"
    return f"{text}."


def flicker(results: Document) -> str:
    """Flicker after the encoder over that of the encoder alone at equal CRF, in %: mean over clips, and the worst."""
    totals: dict[tuple[str, str, str], list[float]] = {}
    for point in results["points"]:
        if point["flicker"] is not None:
            totals.setdefault((point["codec"], point["method"], point["clip"]), []).append(point["flicker"])
    codecs = [entry["codec"] for entry in results["environment"]["codecs"]]
    labels = dict.fromkeys(entry["method"] for entry in results["environment"]["methods"])
    table = [["Method", *codecs]]
    for label in labels:
        cells = []
        for codec in codecs:
            changes = {
                clip: 100 * (sum(values) / sum(totals[codec, "none", clip]) - 1)
                for (own, method, clip), values in totals.items()
                if (own, method) == (codec, label)
            }
            if changes:
                worst = max(changes, key=lambda clip: changes[clip])
                mean = statistics.fmean(changes.values())
                cells.append(f"{mean:+.1f} ({changes[worst]:+.1f}, {worst.split('_')[0]})")
            else:
                cells.append("N/A")
        if label != "none" and any(cell != "N/A" for cell in cells):
            table.append([escape(label), *cells])
    return _lines(table, 1)


def worse(results: Document, metric: str, *methods: str) -> str:
    """On how many clips each method makes a metric worse, codec by codec."""
    table = [["Method", *(entry["codec"] for entry in results["environment"]["codecs"])]]
    for method in methods:
        cells = []
        for codec in table[0][1:]:
            cells.append(_count_worse(_clip_percents(results, codec, method, metric)))
        table.append([escape(method), *cells])
    return _lines(table, 1)


def aims(results: Document, method: str) -> str:
    """Mean BD-rates of a model beside what is aimed at; in bold what is reached."""
    wanted = _AIMS[method]
    metrics = list(next(iter(wanted.values())))
    table = [["Codec", *(_TITLES[metric] for metric in metrics)]]
    for codec, targets in wanted.items():
        cells = []
        for metric in metrics:
            row = _mean(results, codec, method, metric)
            cell = _cell(row)
            reached = row is not None and row["percent"] is not None and row["percent"] <= targets[metric]
            cells.append(f"{f'**{cell}**' if reached else cell} ({targets[metric]})")
        table.append([codec, *cells])
    return _lines(table, 1)


def guard(results: Document) -> str:
    """What the guard does to a model's BD-rates, and what it takes: of `scripts/bench_guard.py`."""
    metrics = dict.fromkeys(row["metric"] for row in results["bd_rate"])
    table = [["Codec", "Method", *(_TITLES[name] for name in metrics), "shots passed", "probes' time"]]
    for codec in dict.fromkeys(row["codec"] for row in results["rows"]):
        reports = [row["guard"] for row in results["rows"] if row["codec"] == codec and row["guard"]]
        shots, passed = (sum(report[key] for report in reports) for key in ("shots", "passed"))
        share = results["probe_share"][codec]
        for method, end in (("model", ["", ""]), ("guard", [f"{100 * passed / shots:.0f} %", f"{100 * share:.0f} %"])):
            cells = []
            for metric in metrics:
                [row] = [
                    r for r in results["bd_rate"] if (r["codec"], r["method"], r["metric"]) == (codec, method, metric)
                ]
                values = [value for value in row["percent"].values() if value is not None]
                mean, worst = (statistics.fmean(values), max(values)) if values else (None, None)
                counts = {"clips": len(values), "of_clips": len(row["percent"])}
                cells.append(_cell({"percent": mean, "worst": worst, **counts}, worst=True))
            table.append([codec, "with `--guard`" if method == "guard" else "without", *cells, *end])
    return _lines(table)


def cost(results: Document, *methods: str) -> str:
    """Processor time beside BD-rates, of `scene bench cost`: against each encoder the named methods, or all."""
    metrics = list(results["costs"][0]["percent"])
    table = [["Encoder", "Before it, or set", "processor time", *(_TITLES[name] for name in metrics)]]
    for row in results["costs"]:
        own = row["codec"] == row["anchor"]
        if row["method"] == "none" and own:
            continue
        if methods and (row["method"].partition(":")[2] or row["method"]) not in methods:
            continue
        name = row["method"].removeprefix(f"{row['codec']}:")
        cells = ["N/A" if row["percent"][metric] is None else f"{row['percent'][metric]:+.1f}" for metric in metrics]
        encoder = row["codec"] if own else f"{row['codec']} for {row['anchor']}"
        table.append([encoder, escape(name), f"{row['ratio']:.2f} times", *cells])
    return _lines(table)


def sizes(results: Document) -> str:
    """Networks of several sizes: what a frame costs, by `sizes/speeds.json`, beside BD-rates with x264."""
    table = [["Model", "parameters", "GMAC", "torch, ms", "fastest, ms", *(_TITLES[name] for name in _README_METRICS)]]
    for speed in _speeds():
        cells = ["" if speed[key] is None else f"{speed[key] / scale:{form}}" for key, scale, form in _SIZE_COLUMNS]
        cells += [_cell(_mean(results, "x264", speed["method"], metric)) for metric in _README_METRICS]
        table.append([escape(speed["method"]), *cells])
    return _lines(table, 1)


def draw_sizes(results: Document, path: Path) -> None:
    """Writes a PNG: a frame's time in the fastest runtime across, rate saved upwards."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for plot, metric in zip(figure.subplots(1, len(_SIZE_METRICS)), _SIZE_METRICS, strict=True):
        points = {
            speed["method"]: (speed["fastest_ms"], -row["percent"], speed["parameters"] is not None)
            for speed in _speeds()
            if (row := _mean(results, "x264", speed["method"], metric)) is not None
        }
        for name, (x, y, is_network) in points.items():
            plot.plot(x, y, "o", color="tab:blue" if is_network else "tab:orange")
            plot.annotate(name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
        plot.set_xscale("log")
        plot.set_xticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
        plot.minorticks_off()
        plot.margins(x=0.3, y=0.15)
        plot.grid(alpha=0.3)
        plot.set_xlabel("processor time of a 720p frame, ms")
        plot.set_ylabel(f"rate saved at equal {_TITLES[metric]}, %")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _speeds() -> list[dict[str, Any]]:
    path = ROOT / "docs" / "results" / "sizes" / "speeds.json"
    speeds: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["speeds"]
    return speeds


def _is_shown(row: dict[str, Any]) -> bool:
    """Whether the figure has a place for it: what is before x264 and x265, but for networks, and the next encoder."""
    name = row["method"].partition("+")[0]
    return row["anchor"] in {"x264", "x265"} and (name in {"none", "scene-fast", "scene-lite"} or ":" in name)


def section(legend: str, table: Table) -> str:
    """A table under its legend; for documents that are too old for it, that they are."""
    if not table.rows:
        return "These results were made before this was measured."
    return f"{legend}\n\n" + "\n".join(table_lines(table))


def figures(results: Document) -> str:
    """The figures of a document's codecs."""
    codecs = [entry["codec"] for entry in results["environment"]["codecs"]]
    return "\n\n".join(f"![Rate-distortion curves, {codec}](images/rd_{codec}.png)" for codec in codecs)


def clips(results: Document) -> str:
    """The clips: sizes, rates, and what they show."""
    table = [["Clip", "of", "measured at", "frames/s", "shows"]]
    for clip in results["environment"]["clips"]:
        sizes = ["x".join(map(str, clip[name])) for name in ("source_size", "measured_size")]
        table.append([escape(clip["clip"]), *sizes, f"{clip['fps']:.4g}", _SHOWS.get(clip["clip"], "")])
    return _lines(table, len(table[0]))


def models(results: Document) -> str:
    """The models of a document with the start of their hashes; each once, whatever encoder it stands before."""
    methods = results["environment"]["methods"]
    networks = {
        m["method"].partition("+")[0]: m["identity"].split(":")[1]
        for m in methods
        if m["identity"].startswith("network:")
    }
    return _listed(f"`{method}@{fingerprint}`" for method, fingerprint in networks.items())


def bullets(lines: list[str]) -> str:
    """A list in Markdown, of plain text."""
    return "\n".join(f"- {escape(line)}" for line in lines)


PARTS: dict[str, Callable[..., str]] = {
    "aims": aims,
    "bd_rate": lambda results: section(BD_RATE_LEGEND, bd_rate_table(results)),
    "build": build,
    "clips": clips,
    "codec_names": lambda results: _listed(entry["codec"] for entry in results["environment"]["codecs"]),
    "command": command,
    "cost": cost,
    "count": lambda results: str(len(results["environment"]["clips"])),
    "detail": lambda results: section(DETAIL_LEGEND, detail_table(results)),
    "direct": direct,
    "equal_crf": lambda results: section(EQUAL_CRF_LEGEND, equal_crf_table(results)),
    "fewer": fewer,
    "figures": figures,
    "frames": lambda results: str(results["environment"]["recipe"]["frames"]),
    "flicker": flicker,
    "gains": gains,
    "guard": guard,
    "guard_command": lambda results: textwrap.indent(results["command"], "    "),
    "knob": knob,
    "mean": lambda results, codec, method, metric: _cell(_mean(results, codec, method, metric)),
    "models": models,
    "paper": paper_table,
    "protocol": lambda results: bullets(protocol_lines(results)),
    "sizes": sizes,
    "remarks": lambda results: bullets(remarks(results)),
    "treatments": lambda results: section(EFFECT_LEGEND, effect_table(results)),
    "weakest": weakest,
    "worse": worse,
}


def main() -> None:
    """Writes all files."""
    shown = [Cost(**row) for row in _load(ROOT, "cost")["costs"] if _is_shown(row)]
    draw(shown, ROOT / "docs" / "images" / "cost.png")
    draw_sizes(_load(ROOT, "sizes"), ROOT / "docs" / "images" / "sizes.png")
    for path in write_figures(_load(ROOT, "clips"), ROOT / "docs" / "images"):
        print(path.relative_to(ROOT))
    for name, text in (("docs/results.md", results_page(ROOT)), ("README.md", readme_page(ROOT))):
        write_atomically(ROOT / name, text)
        print(name)


def _load(root: Path, folder: str) -> Document:
    document: Document = json.loads((root / "docs" / "results" / folder / "results.json").read_text(encoding="utf-8"))
    return document


def _paper() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "docs" / "results" / "paper.json").read_text(encoding="utf-8"))
    return document


def _mean(results: Document, codec: str, method: str, metric: str, *, anchor: str = "none") -> Document | None:
    wanted = _place("mean", codec, method, anchor) | {"metric": metric}
    for row in results["bd_rate"]:
        if all(row[key] == value for key, value in wanted.items()):
            found: Document = row
            return found
    return None


def _place(clip: str, codec: str, method: str, anchor: str) -> dict[str, str]:
    return {"clip": clip, "codec": codec, "method": method, "anchor": anchor}


def _clip_percents(results: Document, codec: str, method: str, metric: str) -> list[float | None]:
    """The BD-rate of every clip, None where it has none."""
    wanted = (codec, method, "none", metric)
    return [
        row["percent"]
        for row in results["bd_rate"]
        if row["clip"] != "mean" and (row["codec"], row["method"], row["anchor"], row["metric"]) == wanted
    ]


def _count_worse(percents: list[float | None]) -> str:
    return f"{sum(percent is not None and percent > 0 for percent in percents)} of {len(percents)}"


def _cell(row: Document | None, *, worst: bool = False) -> str:
    if row is None or row["percent"] is None:
        return "N/A"
    text = f"{row['percent']:+.1f}" + (f" ({row['worst']:+.1f})" if worst else "")
    return text if row["clips"] == row["of_clips"] else f"{text} \\[{row['clips']}/{row['of_clips']}\\]"


def _listed(words: Any) -> str:
    *others, last = list(words) or ["none"]
    return f"{', '.join(others)} and {last}" if others else last


def _filled(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), 120, break_long_words=False, break_on_hyphens=False)


def _lines(table: list[list[str]], words: int = 2) -> str:
    return "\n".join(markdown_lines(table, words=words))


if __name__ == "__main__":
    main()
