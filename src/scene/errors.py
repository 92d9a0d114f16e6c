"""Every error that SCENE raises on purpose, each leaf with the exit code of the command line.

    SceneError                  1   the operation failed
    ├── UsageError              2   invalid arguments
    ├── InputError              3   an input is missing, unreadable or corrupt
    │   └── CheckpointError     3   a weights file is damaged, of another version or not one of ours
    ├── VerificationError       4   the output was written but is not what it must be
    ├── TargetError             5   the asked-for quality or rate cannot be reached
    └── MissingError            6   an encoder, weights, a device or an optional package is missing

The message of each is one sentence that names the file or value and says what to do.
"""

from __future__ import annotations

from typing import ClassVar


class SceneError(Exception):
    """Base of all errors raised on purpose; its message is fit to be shown to the user as it is."""

    exit_code: ClassVar[int] = 1


class UsageError(SceneError):
    """Invalid arguments: an unknown name, DST equal to SRC, a value out of range."""

    exit_code = 2


class InputError(SceneError):
    """An input file is missing, unreadable, corrupt, or holds no video."""

    exit_code = 3


class CheckpointError(InputError):
    """A weights file is truncated, malformed, of an unknown version, or is no safetensors file."""


class VerificationError(SceneError):
    """The output does not hold what the source held (frames, duration), so it was not published."""

    exit_code = 4


class TargetError(SceneError):
    """The asked-for quality or rate cannot be reached."""

    exit_code = 5


class MissingError(SceneError):
    """An encoder, a weights file, a device or an optional package is not on this machine."""

    exit_code = 6
