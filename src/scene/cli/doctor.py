"""`scene doctor`: what this machine can do."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter


def doctor(*, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Try every part of SCENE on this machine, and say what is missing and how to get it.

    The exit code is 0 where scene encode works with x264 at least, else 6.

    Parameters
    ----------
    json:
        Print one JSON object instead of lines.
    """
    import json as encoder
    from dataclasses import asdict

    from scene.errors import MissingError
    from scene.jobs.doctor import can_encode, examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not json:
            state = "ok     " if finding.ok else "missing"
            remedy = f" ({finding.remedy})" if finding.remedy else ""
            # As they come: loading all models takes a while.
            print(f"{state}  {finding.group}: {finding.name}: {' '.join(finding.detail.split())}{remedy}", flush=True)
    works = can_encode(findings)
    if json:
        encoder.dump({"encodes": works, "findings": [asdict(finding) for finding in findings]}, sys.stdout, indent=1)
        print()
    if not works:
        raise MissingError("scene encode does not work here, as x264 is missing; install av==18.* from its wheels.")
