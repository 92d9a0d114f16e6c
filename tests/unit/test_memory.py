"""Freed memory is kept for the next frame, in the command and in the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is told")

# Two planes at once, of sizes that the C library gives back to the system by itself, 40 times.
_FAULTS = """
import resource, numpy as np
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        one, other = np.ones((1080, 1920), np.float32), np.ones((1080, 1920), np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""
_PAGES = 2 * 1080 * 1920 * 4 // 4096


def run(code: str, **environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_pages_are_taken_once() -> None:
    keep = "from scene.cli.memory import keep_freed_memory; keep_freed_memory()"
    (without,) = run(f"{_FAULTS}\nprint(faults())")
    (kept,) = run(f"{_FAULTS}\n{keep}\nprint(faults())")
    assert int(kept) < 3 * _PAGES < int(without)


def test_processes_that_are_started_inherit_it() -> None:
    inner = f"{_FAULTS}\nprint(faults())"
    code = (
        "import subprocess, sys\nfrom scene.cli.memory import keep_freed_memory\nkeep_freed_memory()\n"
        f"subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    )
    assert int(run(code)[0]) < 3 * _PAGES


def test_what_the_environment_says_holds() -> None:
    code = "import os\nfrom scene.cli.memory import keep_freed_memory\nkeep_freed_memory()\n"
    code += "print(*(f'{k}={v}' for k, v in sorted(os.environ.items()) if k.startswith('MALLOC_')))"
    assert run(code, MALLOC_TRIM_THRESHOLD_="131072") == ["MALLOC_TRIM_THRESHOLD_=131072"]
    assert run(code) == ["MALLOC_MMAP_THRESHOLD_=33554432", "MALLOC_TRIM_THRESHOLD_=1073741824"]
