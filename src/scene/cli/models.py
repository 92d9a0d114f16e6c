"""`scene models`."""

from __future__ import annotations


def models() -> None:
    """List the models and semantic encoders that come with the package, with their size and how they were trained."""
    from rich.console import Console
    from rich.table import Table

    from scene.model import load_model, model_names, read_record, resolve_model
    from scene.model.semantics import encoder_names, load_encoder
    from scene.model.semantics.student import StudentEncoder

    table = Table(box=None)
    for column in ("name", "guided by", "planes", "parameters", "trained", "identity"):
        table.add_column(column, no_wrap=True)
    for name in model_names():
        network = load_model(name)
        record = read_record(resolve_model(name))
        trained = f"{record['steps']} steps, {record['seconds'] / 60:.0f} min, {record['device']}"
        guide = network.semantics.encoder if network.semantics else network.config.guidance
        table.add_row(name, guide, network.config.planes, f"{network.count_parameters():,}", trained, network.identity)
    table.add_row("none", "", "", "0", "the frame as it is", "")
    encoders = Table(box=None)
    for column in ("encoder", "teacher", "width", "parameters", "identity"):
        encoders.add_column(column, no_wrap=True)
    for name in encoder_names():
        student = load_encoder(name)
        assert isinstance(student, StudentEncoder)
        encoders.add_row(name, student.teacher, str(student.width), f"{student.count_parameters():,}", student.identity)
    console = Console()
    # Long lines, rather than cells that are cut: identities are there to be copied.
    console.print(table, soft_wrap=True)
    console.print()
    console.print(encoders, soft_wrap=True)
