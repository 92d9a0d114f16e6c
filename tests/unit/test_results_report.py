"""What a results document comes to, in words first: on a terminal, and where programs read."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scene.evaluation.report.markdown import results_markdown
from scene.evaluation.report.spoken import spoken
from scene.metrics.scores import BD_METRICS, METRICS


def point(method: str, kbps: float, neg: float, crf: float | None = None, **others: float) -> dict[str, Any]:
    scores = {metric.name: 1.0 for metric in METRICS}
    place = {"clip": "a.mp4", "codec": "x264", "method": method, "crf": crf, "kbps": kbps, "frames": 9, "bit_depth": 8}
    return {**place, **scores, "vmaf_neg": neg, **others}


def comparison(*points: dict[str, Any]) -> dict[str, Any]:
    clip = {"clip": "a.mp4", "measured_size": [320, 240], "fps": 25.0}
    environment = {"clips": [clip], "ffmpeg": "7.1", "command": "scene compare"}
    return {"points": list(points), "bd_rate": [], "environment": environment, "failures": []}


def evaluation(saved: dict[str, float | None], clips: int = 1) -> dict[str, Any]:
    """By method: the difference of rate by VMAF NEG of every clip; 1 % less by the other metrics."""
    rows = [
        {"clip": f"{number}.mp4", "codec": "x264", "method": method, "anchor": "none", "metric": metric}
        | {"percent": percent if metric == "vmaf_neg" else -1.0, "note": ""}
        for method, percent in saved.items()
        for number in range(clips)
        for metric in BD_METRICS
    ]
    means = []
    for row in rows[:: clips * len(BD_METRICS)]:
        for metric in BD_METRICS:
            value = saved[row["method"]] if metric == "vmaf_neg" else -1.0
            count = {"clips": 0 if value is None else clips, "of_clips": clips, "worst": value, "worst_clip": "0.mp4"}
            means.append({**row, "clip": "mean", "metric": metric, "percent": value, **count})
    environment = {"codecs": [{"codec": "x264"}], "methods": [{"method": name} for name in ("none", *saved)]}
    points = [point(name, 100.0, 90.0, crf=20.0) for name in ("none", *saved)]
    return {"points": points, "bd_rate": [*rows, *means], "environment": environment, "failures": []}


def test_an_evaluation_says_what_was_won_and_by_what() -> None:
    assert spoken(evaluation({"scene": -10.1, "contrast": -2.0})) == [
        "At equal VMAF NEG 0.mp4 needs 10.1 % fewer bits; MS-SSIM -1.0 %, PSNR -1.0 %. That is scene before x264.",
        "With x264, use scene.",
    ]
    lost, advice = spoken(evaluation({"contrast": 3.14}, clips=2))
    assert lost.startswith("At equal VMAF NEG these 2 clips need 3.1 % more bits on average; ")
    assert advice.startswith("With x264, leave it alone: nothing here saves bits at equal VMAF NEG")
    assert spoken(evaluation({"contrast": None}))[0].startswith("At equal VMAF NEG nothing can be said of 0.mp4")
    assert spoken({"points": [point("none", 100.0, 90.0, crf=20.0)], "bd_rate": []}) == []


def test_a_comparison_holds_files_against_the_first() -> None:
    one, other = point("one.mkv", 1000.0, 92.44), point("other.mp4", 950.0, 93.28, ms_ssim=0.9991, psnr_y=0.5)
    assert spoken(comparison(one)) == ["one.mkv has VMAF NEG 92.44 at 1000 kbit/s."]
    assert spoken(comparison(one, other)) == [
        "other.mp4 has 5.0 % fewer bits than one.mkv, and VMAF NEG +0.84 (93.28 against 92.44); "
        "MS-SSIM -0.0009, PSNR -0.50."
    ]
    assert spoken(comparison(other, one))[0].startswith(
        "one.mkv has 5.3 % more bits than other.mp4, and VMAF NEG -0.84 (92.44 against 93.28)"
    )
    same = spoken(comparison(one, {**one, "method": "twin.mkv"}))[0]
    assert same.startswith("twin.mkv has as many bits as one.mkv, and VMAF NEG +0.00 ")
    assert spoken(comparison(*[one] * 6))[-1] == "The table has 2 more."


def test_markdown_begins_with_the_sentences_and_keeps_its_tables() -> None:
    document = comparison(point("one_a.mkv", 1000.0, 92.44), point("b.mkv", 950.0, 93.0))
    first, rest = results_markdown(document).split("\n\n", 1)
    assert first.startswith("b.mkv has 5.0 % fewer bits than one\\_a.mkv, and VMAF NEG +0.56")
    assert rest.startswith("# Against a.mp4\n")
    assert [line.split()[1] for line in rest.splitlines() if line.startswith("| ")][2:] == ["one\\_a.mkv", "b.mkv"]


def on_terminal(document: dict[str, Any], folder: Path) -> str:
    """What `print_results` writes to a terminal that is 150 columns wide."""
    (folder / "document.json").write_text(json.dumps(document))
    code = (
        "import json, sys, pathlib\nfrom scene.cli.results_report import print_results\n"
        "print_results(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path('out'))\n"
    )
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "150", "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder / "document.json")], stdout=follower, env=environment
    )
    os.close(follower)
    text = b""
    # At the end Linux fails with EIO, and macOS gives nothing.
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(leader)
    assert process.wait(timeout=60) == 0
    return text.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("kind", ["evaluation", "comparison"])
def test_a_terminal_gets_tables_that_are_no_markdown(kind: str, tmp_path: Path) -> None:
    if kind == "evaluation":
        document = evaluation({"scene": -10.1, "contrast[b]": -2.0}, clips=2)
        first, figures = "At equal VMAF NEG these 2 clips need 10.1 % fewer bits on average", "-10.1 (-10.1)"
    else:
        document = comparison(point("one.mkv", 1000.0, 92.44), point("contrast[b]\x1b[31m", 950.0, 93.0))
        first, figures = r"contrast[b]\x1b[31m has 5.0 % fewer bits", "93.00"
    text = on_terminal(document, tmp_path)
    assert text.startswith(first)
    assert not [line for line in text.splitlines() if line.startswith(("|", "#"))] and "**" not in text
    assert figures in text and "contrast[b]" in text and "\x1b[31m" not in text
    # Few lines, not the whole of table.md.
    assert len(text.splitlines()) < 20
    assert "More tables are in out/table.md, pictures and curves in out/report.html." in text
