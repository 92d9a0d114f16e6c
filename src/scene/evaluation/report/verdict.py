"""What an evaluation comes to, in words: what was won with each codec, what to use, and where to leave it alone.

A method pays on a clip where it saves bits at equal VMAF NEG, which contrast and sharpening hardly raise, and does not
lose on MS-SSIM. What saves most if it is used wherever it pays is recommended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scene.evaluation.report.results import Document
from scene.metrics.gain_sentence import BESIDE, HONEST, gain_sentence
from scene.metrics.scores import METRICS
from scene.video.encoders import ENCODERS

# Percent of the rate: what is less is no saving, and no loss.
_NOTICEABLE = 0.5
# By so much another method has to save more on a clip to be named beside the recommended one.
_WORTH_NAMING = 2.0
_ALONE = "leave it alone"
_TITLES = {metric.name: metric.title for metric in METRICS}
_GUARD = BESIDE[0]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the figures of one codec say.

    Attributes:
        codec: which one.
        method: that is recommended, by label; None where none pays on any clip.
        strength: of a network's change, where it is not all of it.
        spoken_of: the method that `sentence` is about: `method` or, where that is None, the best that there is.
        sentence: what was won on the clips of this codec.
        clips: those that are to be treated otherwise, each with what to do and why.
    """

    codec: str
    method: str | None
    strength: float | None
    spoken_of: str
    sentence: str
    clips: tuple[tuple[str, str], ...]

    @property
    def advice(self) -> str:
        """The recommendation without the clips, as the start of a sentence."""
        if self.method is None:
            lost = f"without losing {_TITLES[_GUARD]}"
            return f"With {self.codec}, {_ALONE}: nothing here saves bits at equal {_TITLES[HONEST]} {lost}"
        at = "" if self.strength is None else f" at strength {self.strength:g}"
        return f"With {self.codec}, use {_plain(self.method, self.strength)}{at}"


def verdicts(results: Document) -> list[Verdict]:
    """One for each codec that has BD-rates against the codec alone, in the order of the evaluation."""
    compared = [row for row in results.get("bd_rate") or [] if row["anchor"] == "none"]
    means = [row for row in compared if "of_clips" in row]
    rows = [row for row in compared if "of_clips" not in row]
    return [_verdict(results, codec, rows, means) for codec in dict.fromkeys(row["codec"] for row in means)]


def _verdict(results: Document, codec: str, rows: list[Document], means: list[Document]) -> Verdict:
    by_place = {(row["clip"], row["method"], row["metric"]): row for row in rows if row["codec"] == codec}
    clips = list(dict.fromkeys(clip for clip, _, _ in by_place))
    methods = list(dict.fromkeys(method for _, method, _ in by_place))
    figures = {
        (clip, method): {name: by_place.get((clip, method, name), {}).get("percent") for name in (HONEST, _GUARD)}
        for clip in clips
        for method in methods
    }
    saved = {place: _saved(own) for place, own in figures.items()}
    best = min(methods, key=lambda method: sum(saved[clip, method] for clip in clips))
    pays = any(saved[clip, best] for clip in clips)
    if not pays:
        # Spoken of all the same: the least that is lost.
        best = min(methods, key=lambda method: sum(figures[clip, method][HONEST] or 0.0 for clip in clips))
    exceptions = []
    for clip in clips if pays else ():
        other = min(methods, key=lambda method: saved[clip, method])
        if saved[clip, other] < saved[clip, best] - (_WORTH_NAMING if saved[clip, best] else 0):
            exceptions.append((clip, f"use {other} ({_against(figures[clip, other], best, figures[clip, best])})"))
        elif not saved[clip, best]:
            exceptions.append((clip, f"{_ALONE} ({_why_not(figures[clip, best])})"))
    return Verdict(
        codec,
        best if pays else None,
        _strength(results, codec, best) if pays else None,
        best,
        _sentence(codec, best, clips, means),
        tuple(exceptions),
    )


def _plain(label: str, strength: float | None) -> str:
    """A method without the strength that its name ends with, where that is said beside it."""
    name, _, number = label.rpartition(":")
    try:
        return name if name and float(number) == strength else label
    except ValueError:
        return label


def _saved(figures: Document) -> float:
    """Percent of the rate, negative, if the method pays; else 0."""
    honest, guard = figures[HONEST], figures[_GUARD]
    if honest is None or guard is None or honest > -_NOTICEABLE or guard > _NOTICEABLE:
        return 0.0
    return float(honest)


def _why_not(figures: Document) -> str:
    for name in (HONEST, _GUARD):
        if figures[name] is None:
            return f"its curves of {_TITLES[name]} allow no comparison"
    if figures[HONEST] > -_NOTICEABLE:
        return f"at equal {_TITLES[HONEST]} {_signed(figures[HONEST])} bits"
    return f"at equal {_TITLES[_GUARD]} {_signed(figures[_GUARD])} bits"


def _against(own: Document, method: str, others: Document) -> str:
    said = f"{_signed(own[HONEST])} bits at equal {_TITLES[HONEST]}"
    return f"{said}, {method} {_signed(others[HONEST])}" if _saved(others) else said


def _signed(percent: float) -> str:
    return f"{percent:+.1f} %"


def _sentence(codec: str, method: str, clips: list[str], means: list[Document]) -> str:
    own = {row["metric"]: row for row in means if (row["codec"], row["method"]) == (codec, method)}
    honest = own.get(HONEST, {})
    return gain_sentence(
        {name: row["percent"] for name, row in own.items()},
        clips=honest.get("clips", 0),
        of_clips=honest.get("of_clips", len(clips)),
        subject=clips[0] if clips else "this clip",
    )


def _strength(results: Document, codec: str, method: str) -> float | None:
    """What the user asked for, None for all of the change."""
    for entry in (results.get("environment") or {}).get("methods") or []:
        codecs = entry.get("codecs")
        if entry["method"] == method and (codecs is None or codec in codecs):
            strength = entry["strength"] if "strength" in entry else _fitted_strength(entry, codec)
            return None if strength == 1 else strength
    return None


def _fitted_strength(entry: Document, codec: str) -> float | None:
    """Of older documents, which knew only what a strength came to with the codec."""
    found = re.search(r":strength=([0-9.]+)", str(entry.get("identity")))
    if not found:
        return None
    fitted = ENCODERS[codec].fit.strength if entry.get("codecs") is not None and codec in ENCODERS else 1.0
    return round(float(found[1]) / fitted, 4)
