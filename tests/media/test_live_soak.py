"""Ten minutes of `scene live` at 360p with a network that two cores are too slow for: `pytest -m slow -k soak -s`."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from lively import RATE, luma_of, number_of, numbered_clip, runs, watch_sound

SECONDS = 600
IN_STEP_S = 0.04


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_ten_minutes(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", SECONDS, size=(640, 360))
    playlist = tmp_path / "hls" / "live.m3u8"
    playlist.parent.mkdir()
    words = [sys.executable, "-m", "scene", "live", str(clip), str(playlist), "--model", "scene", "--latency", "0.5"]
    # Without loss, so that frames that were passed through can be told by their samples.
    words += ["--window", "0", "--encoder-args", "qp=0", "--preset", "ultrafast", "--log-format", "json"]
    memory: list[tuple[float, float]] = []
    began = time.monotonic()
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(words, stderr=log)
        while process.poll() is None:
            memory.append((time.monotonic() - began, resident_mib(process.pid)))
            time.sleep(2)
        log.seek(0)
        result = json.loads(log.read().splitlines()[-1])
    assert process.returncode == 0 and result["event"] == "result"
    print(json.dumps(result))
    print("minute, MiB:", [(round(at / 60, 1), round(mib)) for at, mib in memory[:: max(1, len(memory) // 20)]])

    whole = tmp_path / "whole.mp4"
    whole.write_bytes(runs(playlist)[0])
    with av.open(str(clip)) as before, av.open(str(whole)) as after:
        numbers, times, unchanged = [], [], 0
        pairs = itertools.zip_longest(before.decode(video=0), after.decode(video=0))
        for given, shown in pairs:
            assert given is not None and shown is not None
            numbers.append(number_of(luma_of(shown)))
            times.append(float(shown.pts * shown.time_base))
            unchanged += bool(np.array_equal(luma_of(given), luma_of(shown)))
    assert numbers == list(range(SECONDS * RATE))
    assert result["frames"] == result["delivered"] == len(numbers)
    assert result["passed"] == unchanged and result["enhanced"] == len(numbers) - unchanged
    assert result["passed"] > 0.1 * len(numbers)
    marks = watch_sound(whole)
    assert len(marks) == SECONDS
    out_of_step = max(abs(mark - times[second * RATE]) for second, mark in enumerate(marks))
    print("sound out of step by at most, s:", round(out_of_step, 4))
    assert out_of_step <= IN_STEP_S
    # From the second minute on, when everything has been allocated once.
    early = np.mean([mib for at, mib in memory if 60 < at < 180])
    late = np.mean([mib for at, mib in memory if at > SECONDS - 120])
    assert late < early * 1.05


def resident_mib(pid: int) -> float:
    """Memory of a process; 0 for one that has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0
