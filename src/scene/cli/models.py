"""`scene models`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter


def models(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """List the models and semantic encoders that come with the package, with their size and how they were trained.

    Args:
        json: Print one JSON object instead of two tables.
    """
    import json as writer

    networks, encoders = _networks(), _encoders()
    if json:
        print(writer.dumps({"models": networks, "encoders": encoders}, indent=2))
        return
    rows = [
        [
            model["name"],
            model["guided_by"],
            model["planes"],
            f"{model['parameters']:,}",
            f"{model['steps']} steps, {model['seconds'] / 60:.0f} min, {model['device']}",
            model["identity"],
        ]
        for model in networks
    ]
    rows.append(["none", "", "", "0", "the frame as it is", ""])
    _print_table(["name", "guided by", "planes", "parameters", "trained", "identity"], rows)
    print()
    _print_table(
        ["encoder", "teacher", "width", "parameters", "identity"],
        [[e["name"], e["teacher"], str(e["width"]), f"{e['parameters']:,}", e["identity"]] for e in encoders],
    )


def _networks() -> list[dict[str, Any]]:
    from scene.model import load_model, model_names, read_record, resolve_model

    found = []
    for name in model_names():
        network = load_model(name)
        record = read_record(resolve_model(name))
        found.append(
            {
                "name": name,
                "identity": network.identity,
                "guided_by": network.semantics.encoder if network.semantics else network.config.guidance,
                "planes": network.config.planes,
                "parameters": network.count_parameters(),
                **{key: record[key] for key in ("steps", "seconds", "device")},
            }
        )
    return found


def _encoders() -> list[dict[str, Any]]:
    from scene.model.semantics import encoder_names, load_encoder
    from scene.model.semantics.student import StudentEncoder

    found = []
    for name in encoder_names():
        student = load_encoder(name)
        assert isinstance(student, StudentEncoder)
        found.append(
            {
                "name": name,
                "identity": student.identity,
                "teacher": student.teacher,
                "width": student.width,
                "parameters": student.count_parameters(),
            }
        )
    return found


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Columns as wide as what is in them, wider than the terminal where need be: names are there to be copied."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
