"""`scene models`."""

from __future__ import annotations


def models() -> None:
    """List the models that come with the package, with their size and how they were trained."""
    from rich.console import Console
    from rich.table import Table

    from scene.model import load_model, model_names, read_record, resolve_model

    table = Table(box=None)
    for column in ("name", "guided by", "planes", "parameters", "trained", "identity"):
        table.add_column(column, overflow="fold", no_wrap=column in ("name", "identity"))
    for name in model_names():
        network = load_model(name)
        record = read_record(resolve_model(name))
        trained = f"{record['steps']} steps, {record['seconds'] / 60:.0f} min, {record['device']}"
        planes, guidance = network.config.planes, network.config.guidance
        table.add_row(name, guidance, planes, f"{network.count_parameters():,}", trained, network.identity)
    table.add_row("none", "", "", "0", "the frame as it is", "")
    Console().print(table)
