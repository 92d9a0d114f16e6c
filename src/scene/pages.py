"""HTML documents that load nothing: templates beside what fills them, styles and scripts that are named by hash."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


def page_part(package: str, name: str) -> str:
    """The text of a template, style or script that lies in a package."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def page_templates(package: str, filters: Mapping[str, Callable[..., Any]]) -> Environment:
    """The templates of a package: what is put into them is escaped, and what they lack is an error."""
    templates = Environment(
        loader=FunctionLoader(lambda name: page_part(package, name)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(filters)
    return templates


def policy_hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
