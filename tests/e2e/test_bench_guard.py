"""scripts/bench_guard.py: whole encodes with the guard and without, their scores, and the table of results.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_guard.py"


def test_the_guard_is_measured_by_whole_encodes(pan: Path, tmp_path: Path) -> None:
    out = tmp_path / "guard.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(pan), "--codecs", "x264", "--crf", "20,26,32,38", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text("utf-8"))
    rows = {(row["crf"], row["method"]): row for row in results["rows"]}
    assert len(rows) == 4 * 3
    for crf in (20, 26, 32, 38):
        none, model, guarded = (rows[crf, method] for method in ("none", "model", "guard"))
        assert guarded["guard"]["shots"] == 1
        # A shot is either the model's or the source's own.
        same = none if guarded["guard"]["passed"] else model
        assert guarded["scores"] == same["scores"]
        assert none["scores"] != model["scores"]
    assert 0 < results["probe_share"]["x264"] < 1
    assert "| x264 | model, guard |" in done.stdout
