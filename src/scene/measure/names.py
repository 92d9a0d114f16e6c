"""Names that can be shown."""

from __future__ import annotations

import os


def display_name(name: str) -> str:
    """A file name as text for people: bytes that are not UTF-8 and control characters become U+FFFD."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
