"""What a results document comes to, as the plain sentences that stand before its tables."""

from __future__ import annotations

from scene.evaluation.report.provenance import is_comparison
from scene.evaluation.report.results import Document
from scene.evaluation.report.verdict import Verdict, verdicts
from scene.metrics.gain_sentence import BESIDE, HONEST
from scene.metrics.scores import METRICS

# Clips to be treated otherwise, and files beside the first, that are named.
_NAMED = 3
_METRICS = {metric.name: metric for metric in METRICS}


def spoken(results: Document) -> list[str]:
    """Sentences in plain text, a line each; none where nothing was compared."""
    if is_comparison(results):
        return _of_files(results["points"])
    return [line for verdict in verdicts(results) for line in _of_codec(verdict)]


def _of_codec(verdict: Verdict) -> list[str]:
    others = [f"{clip}: {what}" for clip, what in verdict.clips]
    if len(others) > _NAMED:
        others[_NAMED:] = [f"and {len(others) - _NAMED} more clips otherwise"]
    return [
        f"{verdict.sentence} That is {verdict.spoken_of} before {verdict.codec}.",
        f"{'; '.join([verdict.advice, *others])}.",
    ]


def _of_files(points: list[Document]) -> list[str]:
    first, *others = points
    if not others:
        return [f"{first['method']} has {_title(HONEST)} {_score(first, HONEST)} at {first['kbps']:.0f} kbit/s."]
    lines = [_against(first, other) for other in others[:_NAMED]]
    if len(others) > _NAMED:
        lines.append(f"The table has {len(others) - _NAMED} more.")
    return lines


def _against(first: Document, other: Document) -> str:
    """One file held against another; without curves there is no figure at equal quality."""
    change = 100 * (other["kbps"] / first["kbps"] - 1) if first["kbps"] else 0.0
    bits = (
        "as many bits as"
        if round(change, 1) == 0
        else f"{abs(change):.1f} % {'fewer' if change < 0 else 'more'} bits than"
    )
    scores = ", ".join(
        f"{_title(name)} {other[name] - first[name]:+.{_METRICS[name].decimals}f}" for name in BESIDE if name in other
    )
    return (
        f"{other['method']} has {bits} {first['method']}, and {_title(HONEST)} {other[HONEST] - first[HONEST]:+.2f} "
        f"({_score(other, HONEST)} against {_score(first, HONEST)}); {scores}."
    )


def _title(name: str) -> str:
    return _METRICS[name].title


def _score(point: Document, name: str) -> str:
    return f"{point[name]:.{_METRICS[name].decimals}f}"
