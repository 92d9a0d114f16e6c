"""`scene doctor`: what this machine can do."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Try what this machine can do: encoders, ffmpeg and its metrics, GPU, models, extras, space.

    What is optional and not here says what works without it. Exit code 6 if what `scene encode` needs is missing.

    Args:
        json: Print one JSON array instead of lines.
    """
    import json as writer
    from dataclasses import asdict

    from scene.cli.console import printable, with_flags
    from scene.errors import MissingError
    from scene.jobs.doctor import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not json:
            remedy = f" ({finding.remedy})" if finding.remedy else ""
            mark = "ok" if finding.ok else "missing" if finding.needed else "optional"
            print(f"{mark:8}  {finding.part:36}  {printable(with_flags(finding.detail + remedy))}", flush=True)
    if json:
        print(with_flags(writer.dumps([asdict(finding) for finding in findings], indent=2)))
    lacking = [finding.part for finding in findings if finding.needed and not finding.ok]
    if lacking:
        raise MissingError(f"scene encode cannot work here without {', '.join(lacking)}.")
    if not json:
        print("scene encode works here.")
