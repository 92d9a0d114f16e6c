"""`scene` on a file system that refuses: `python refusing.py CALL=ERROR,... WORD...`, by Linux's system call filter.

CALL is chmod, fsync, rename or flock, ERROR a name of `errno`.
"""

import ctypes
import errno
import platform
import struct
import sys

from scene.cli import main

# By machine; each with its successors.
_NUMBERS = {
    "x86_64": {"chmod": (90, 91, 268, 452), "fsync": (74, 75), "rename": (82, 264, 316), "flock": (73,)},
    "aarch64": {"chmod": (52, 53, 452), "fsync": (82, 83), "rename": (38, 276), "flock": (32,)},
}
SUPPORTED = sys.platform == "linux" and platform.machine() in _NUMBERS

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def refuse(calls):
    """From now on, and in all children, these system calls fail: errors by name of the call."""
    instructions = [(_LOAD, 0, 0, 0)]
    for name, error in calls.items():
        for number in _NUMBERS[platform.machine()][name]:
            instructions += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _FAIL | getattr(errno, error))]
    instructions.append((_RETURN, 0, 0, _ALLOW))
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    program = _Program(len(instructions), ctypes.addressof(packed))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "the filter was not taken")


if __name__ == "__main__":
    refuse(dict(pair.split("=") for pair in sys.argv.pop(1).split(",")))
    main()
