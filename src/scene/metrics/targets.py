"""Qualities that can be asked for, as `vmaf-neg=93`. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scene.errors import UsageError
from scene.metrics.scores import METRICS

# The largest value of each metric that can be asked for. VMAF is measured unclipped, but what a player of the field
# calls 100 is the most that makes sense; XPSNR of identical pictures is 100, and PSNR at most 60 with 8 bit.
_LARGEST = {"vmaf": 100.0, "vmaf_neg": 100.0, "vmaf_v1": 100.0, "ms_ssim": 1.0, "psnr_y": 60.0, "xpsnr_y": 99.0}
_METRICS = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True, slots=True)
class Target:
    """A score that is to be reached.

    Attributes:
        metric: by its name in `scene.metrics.scores.Scores`.
        value: at least this.
    """

    metric: str
    value: float

    @property
    def text(self) -> str:
        """For people: "VMAF NEG 93"."""
        return f"{title(self.metric)} {self.value:g}"


def parse_target(text: str) -> Target:
    """Reads `METRIC=VALUE`.

    Raises:
        UsageError: it is not of that form, or the metric or the value cannot be asked for.
    """
    name, equals, value = text.partition("=")
    metric = name.strip().lower().replace("-", "_")
    if not equals:
        raise UsageError(f"`targets` {text!r} is not of the form METRIC=VALUE, such as vmaf-neg=93.")
    if metric not in _LARGEST:
        raise UsageError(
            f"`targets` {name!r} is not a metric that can be asked for; choose {', '.join(target_names())}."
        )
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"`targets` {text!r}: {value!r} is not a number.") from None
    if not (math.isfinite(number) and 0 < number <= _LARGEST[metric]):
        raise UsageError(f"`targets` {text!r} is out of range; {name} goes from 0 to {_LARGEST[metric]:g}.")
    return Target(metric, number)


def target_names() -> tuple[str, ...]:
    """The metrics that can be asked for, as users write them."""
    return tuple(name.replace("_", "-") for name in _LARGEST)


def title(metric: str) -> str:
    """A metric's name for people."""
    return _METRICS[metric].title


def score_text(metric: str, value: float) -> str:
    """A score with the digits that are worth showing."""
    return f"{value:.{_METRICS[metric].decimals}f}"
