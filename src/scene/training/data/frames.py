"""What training draws its crops from: sequences of frames, a photograph being a sequence of one."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from scene.errors import InputError

Image = npt.NDArray[np.uint8]


class FrameSource(Protocol):
    """Sequences of consecutive frames, read on demand.

    Implementations can be pickled to the processes of a data loader, hold no open file between calls, and give the
    same frames for the same numbers every time. Reading may be slow; `scene.training.data.crops.Crops` keeps what fits.
    """

    @property
    def identity(self) -> str:
        """Changes when names, number or order of the frames change; part of the embedding cache's key."""

    def __len__(self) -> int:
        """Number of sequences."""

    def length(self, sequence: int) -> int:
        """Frames of a sequence, at least 1; cheap, nothing is decoded."""

    def name(self, sequence: int, frame: int) -> str:
        """Where a frame comes from, for messages: a path, with the frame's number where a file holds several."""

    def read(self, sequence: int, frame: int) -> Image:
        """A whole frame, (H, W, 3) uint8 RGB.

        Raises:
            InputError: it cannot be read.
        """


Part = Literal["train", "held-out", "all"]
Layout = Literal["auto", "images", "videos", "vimeo-septuplet", "vimeo-triplet"]

# One clip in so many is held out: the 9:1 split of the paper's section 3.2.
_HELD_OUT_OF = 10
# With this salt 10 of the 96 folders of Vimeo-90K's septuplets are held out, and 9 of the 78 of its triplets.
_SALT = "scene/split"


def list_files(folder: Path, kind: str, suffixes: Collection[str]) -> list[Path]:
    """Every file with one of these suffixes below a folder, sorted.

    Args:
        kind: what the files are, as a singular word.
        suffixes: in small letters.

    Raises:
        InputError: the folder does not exist or holds none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of {kind}s")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if not files:
        raise InputError(f"{folder} holds no {kind} ({', '.join(sorted(suffixes))})")
    return files


def in_part(clip: str, part: Part) -> bool:
    """Whether a clip belongs to a part.

    A hash of the clip's own name decides, so that data added later never moves what is there from one part to the
    other, on no machine. The share is therefore 10 % on average, not exactly.
    """
    if part == "all":
        return True
    digest = hashlib.sha256(f"{_SALT}{clip}".encode("utf-8", "surrogateescape")).digest()
    return (int.from_bytes(digest[:8], "big") % _HELD_OUT_OF == 0) == (part == "held-out")


def identify(facts: Iterable[object]) -> str:
    """16 hexadecimal characters of a SHA-256 over the facts in their order."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(f"{fact}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
