"""x264 told to leave AVX-512 out where its output would otherwise depend on what is left in memory."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

# What x264 finds on a processor with AVX2, in its own names.
_UP_TO_AVX2 = "MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2,LZCNT"
_ROW_PIXELS = 8 * 16


def steady_params(width: int, cpu_flags: Iterable[str]) -> list[str]:
    """x264's parameters for pictures of a width in pixels on a processor with these flags.

    x264's AVX-512 code for macroblock trees takes eight macroblocks at a time and does not stop at the end of a row.
    Where a row is no multiple of eight, what lies behind it, which may be memory that nothing has written to, decides
    about quantisers: the same pictures then have another rate each time, by up to 1.5 %. The code for AVX2 stops.
    """
    macroblocks = -(-width // 16) * 16
    return [f"asm={_UP_TO_AVX2}"] if "avx512f" in cpu_flags and macroblocks % _ROW_PIXELS else []


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The flags of this machine's processor as Linux names them; none on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))
