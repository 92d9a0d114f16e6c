"""How the figures of a results document came about: with what, of what, and what failed; as facts and as tables."""

from __future__ import annotations

from collections.abc import Sequence

from scene.evaluation.report.results import Document
from scene.evaluation.report.table import Row, Table


def is_comparison(results: Document) -> bool:
    """Whether the document is of `scene compare`: files made elsewhere, without a CRF."""
    points = results.get("points") or []
    return bool(points) and all(point.get("crf") is None for point in points)


def facts(results: Document) -> list[tuple[str, str]]:
    """Names and texts; what the document does not say is left out."""
    environment = results.get("environment") or {}
    recipe = environment.get("recipe")
    found = [
        ("SCENE", environment.get("scene")),
        ("PyAV", environment.get("pyav")),
        ("ffmpeg", environment.get("ffmpeg")),
        ("Platform", environment.get("platform")),
        ("Frames", _frames(recipe) if recipe else None),
        ("Reference", f"the unprocessed source, {_size_rule(recipe)}" if recipe else None),
        ("Rate", "of the elementary stream" if results.get("points") and not is_comparison(results) else None),
        ("Time", _time(results)),
    ]
    return [(name, str(text)) for name, text in found if text]


def protocol_lines(results: Document) -> list[str]:
    """What was measured, with what, as plain text."""
    environment = results["environment"]
    lines = []
    if clips := environment["clips"]:
        recipe = environment["recipe"]
        named = [f"{clip['clip']} ({'x'.join(map(str, clip['measured_size']))})" for clip in clips]
        count = f"{len(clips)} clip{'s' * (len(clips) > 1)}"
        lines.append(f"{count}, {_frames(recipe)}, {_size_rule(recipe)}: {', '.join(named)}")
    for codec in environment["codecs"]:
        if "crf" in codec:
            gop = f"GOP {environment['recipe']['gop_seconds']:g} s"
            lines.append(
                f"{codec['codec']} {codec['version']}: preset {codec['preset']}, {_ladder(codec)}, {gop}, "
                + _encoder_args(codec, environment)
            )
    rate = f"ffmpeg {environment['ffmpeg']}; rate is that of the elementary stream"
    if "pyav" in environment:
        lines.append(
            f"encoders are those of PyAV {environment['pyav']}, as in `scene encode`: with the codec, preset, crf and "
            "encoder_args above it makes the same streams of the same pictures"
        )
        rate += ", without what encoders write into it about themselves"
    lines.append(rate)
    for method in environment["methods"]:
        # Older documents do not say which codecs a method is for.
        codecs = method.get("codecs")
        if method.get("identity", method["method"]) != method["method"] or codecs:
            where = f" with {', '.join(codecs)}" if codecs else ""
            lines.append(f"{method['method']} is {method['identity']}{where}")
    return [*lines, *filter(None, [_time(results)])]


def provenance_tables(results: Document) -> list[Table]:
    """The encoders, the methods or files, the clips and the failures; those that the document has."""
    tables = [_encoders(results), _methods(results), _clips(results), _failures(results)]
    return [table for table in tables if table.rows]


def _frames(recipe: Document) -> str:
    return f"first {recipe['frames']} frames" if recipe.get("frames") else "all frames"


def _size_rule(recipe: Document) -> str:
    lines = recipe.get("halve_above")
    return f"those above {lines} lines halved (Lanczos)" if lines else "at their own size"


def _ladder(codec: Document) -> str:
    return f"{codec.get('quality', 'CRF')} {', '.join(f'{crf:g}' for crf in codec.get('crf') or [])}"


def _encoder_args(codec: Document, environment: Document) -> str:
    # Older documents are of one thread and of other options.
    if "encoder_args" not in codec:
        return "one thread"
    seconds = environment["recipe"]["gop_seconds"]
    intervals = dict.fromkeys(max(1, round(seconds * clip["fps"])) for clip in environment["clips"])
    given = dict.fromkeys(codec["encoder_args"].replace("{gop}", str(frames)) for frames in intervals)
    return f"encoder_args {' or '.join(given)}"


def _time(results: Document) -> str:
    timing = results.get("timing")
    if not timing or not timing["points"]:
        return ""
    share = (timing["encode_seconds"] + timing["compare_seconds"]) / (timing["wall_seconds"] * timing["jobs"])
    return (
        f"{timing['points']} points were measured in {_duration(timing['wall_seconds'])} by "
        f"{timing['jobs']} worker{'s' * (timing['jobs'] > 1)}, "
        f"{share:.0%} of whose time went into encoding and comparing points, the rest mostly into pre-filter effects"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _entries(results: Document, name: str) -> list[Document]:
    return (results.get("environment") or {}).get(name) or []


def _words(caption: str, head: Sequence[str], rows: Sequence[Row]) -> Table:
    return Table(caption, tuple(head), tuple(rows), words=len(head))


def _encoders(results: Document) -> Table:
    recipe = (results.get("environment") or {}).get("recipe") or {}
    gop = f"{recipe['gop_seconds']} s" if recipe.get("gop_seconds") else ""
    rows = [
        (
            *(str(entry.get(name, "")) for name in ("codec", "encoder", "version", "preset")),
            _ladder(entry),
            gop,
            str(entry.get("encoder_args") or " ".join(map(str, entry.get("options") or []))),
        )
        for entry in _entries(results, "codecs")
    ]
    return _words("Encoders", ["Codec", "Encoder", "Version", "Preset", "Quality", "GOP", "Options"], rows)


def _methods(results: Document) -> Table:
    entries = _entries(results, "methods")
    if is_comparison(results):
        names = [tuple(str(entry.get(name, "")) for name in ("method", "identity")) for entry in entries]
        return _words("Files", ["File", "Identity"], names)
    rows = [
        (
            str(entry.get("method", "")),
            ", ".join(entry.get("codecs") or []) or "all",
            " ".join([str(entry.get("identity", "")), *map(str, entry.get("parameters") or [])]),
        )
        for entry in entries
    ]
    return _words("Methods", ["Method", "Codecs", "Identity"], rows)


def _clips(results: Document) -> Table:
    rows = [
        (
            str(clip.get("clip", "")),
            f"{clip['fps']:.5g}" if clip.get("fps") else "",
            *("\u00d7".join(map(str, clip.get(name) or [])) for name in ("source_size", "measured_size")),
            str(clip.get("sha256", "")),
        )
        for clip in _entries(results, "clips")
    ]
    return _words("Clips", ["Clip", "Frames/s", "Source", "Measured", "SHA-256"], rows)


def _failures(results: Document) -> Table:
    rows = [
        tuple(str(failure.get(name, "")) for name in ("clip", "method", "codec", "crf", "reason"))
        for failure in results.get("failures") or []
    ]
    caption = f"{len(rows)} point{'s' * (len(rows) > 1)} that could not be measured"
    return _words(caption, ["Clip", "Method", "Codec", "CRF", "Reason"], rows)
