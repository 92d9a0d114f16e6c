"""How a method looks in every plot, in pictures and on the page: one colour and one marker."""

from __future__ import annotations

from scene.evaluation.report.provenance import is_comparison
from scene.evaluation.report.results import Document

ANCHOR = "none"
# On white and on black. The first, that of text, is the codec's alone; the next ones differ to the colour-blind too.
COLOURS = (
    ("#1b1f26", "#f2f4f7"),
    ("#0072b2", "#56a8e8"),
    ("#d55e00", "#ff8a3d"),
    ("#00805c", "#2fc299"),
    ("#a8528c", "#e39ac8"),
    ("#8a6d00", "#e6c229"),
    ("#3f51b5", "#9fa8ff"),
    ("#2b91b8", "#7fdcf5"),
    ("#7a4b2a", "#d0a27c"),
)


def looks(results: Document) -> dict[str, int]:
    """The number of each method's look: 0 is the codec alone; networks, to stand out, come before the rest."""
    points = results.get("points") or []
    entries = (results.get("environment") or {}).get("methods") or []
    named = [str(entry["method"]) for entry in entries] + [str(point["method"]) for point in points]
    networks = [str(entry["method"]) for entry in entries if str(entry.get("identity")).startswith("network:")]
    others = [name for name in named if is_comparison(results) or name != ANCHOR]
    order = list(dict.fromkeys([*networks, *others]))
    # Of files that are compared, one may be called like the anchor.
    anchor = {} if is_comparison(results) else {ANCHOR: 0}
    return anchor | {name: number + 1 for number, name in enumerate(order)}


def colour_of(look: int) -> int:
    """Its place in `COLOURS`; of many methods some share a colour, and their markers tell them apart."""
    return 0 if look == 0 else (look - 1) % (len(COLOURS) - 1) + 1
