"""`scene models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from scene.model import Network


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
            _trained(model),
            ", ".join(model["calibrated_for"]),
            model["identity"],
        ]
        for model in networks
    ]
    rows.append(["none", "", "", "0", "the frame as it is", "", ""])
    _print_table(["name", "guided by", "planes", "parameters", "trained", "calibrated for", "identity"], rows)
    print()
    _print_table(
        ["encoder", "teacher", "width", "parameters", "identity"],
        [[e["name"], e["teacher"], str(e["width"]), f"{e['parameters']:,}", e["identity"]] for e in encoders],
    )


def _networks() -> list[dict[str, Any]]:
    from scene.model import load_model, model_names

    found = []
    for name in model_names():
        network = load_model(name)
        found.append(
            {
                "name": name,
                "identity": network.identity,
                "guided_by": _guided_by(network),
                "planes": network.config.planes,
                "parameters": network.count_parameters(),
                "calibrated_for": sorted(network.calibrations),
                **{key: network.record.get(key) for key in ("steps", "seconds", "device")},
            }
        )
    return found


def _guided_by(network: Network) -> str:
    if not network.config.body:
        return "calibration"
    return network.semantics.encoder if network.semantics else network.config.guidance


def _trained(model: dict[str, Any]) -> str:
    """In words; a model without a network has had no training."""
    if model["steps"] is None:
        return "no network"
    return f"{model['steps']} steps, {model['seconds'] / 60:.0f} min, {model['device']}"


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
