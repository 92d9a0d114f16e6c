"""Vimeo-90K, the data set of the paper's section 3.2, in the layout that it is published in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scene.errors import InputError
from scene.training.data.frames import Image, Part, identify, in_part
from scene.training.data.images import read_image

_HOME = "http://toflow.csail.mit.edu"
_SEQUENCE = re.compile(r"\d+/\d+")
# Sequences looked for when the data set is opened; looking for all of them takes minutes on a network drive.
_LOOKED_FOR = 4


@dataclass(frozen=True, slots=True)
class VimeoKind:
    """One of the two forms of Vimeo-90K.

    Attributes:
        name: of the layout.
        frames: of each sequence.
        train_list: name of the file that lists the sequences for training.
    """

    name: str
    frames: int
    train_list: str


SEPTUPLETS = VimeoKind("vimeo-septuplet", 7, "sep_trainlist.txt")
TRIPLETS = VimeoKind("vimeo-triplet", 3, "tri_trainlist.txt")


class VimeoSource:
    """The sequences of the published training list (Xue et al., IJCV 2019); the test list is never touched.

    The 9:1 split goes by the top-level folder, `00001` of `00001/0001`: sequences cut from one video carry consecutive
    numbers, so that nearly all of them stay on one side, which a split by sequence would not ensure. The folders hold
    up to a thousand sequences each, 10 of the septuplets' 96 and 9 of the triplets' 78 being held out.

    Args:
        folder: holds the lists and `sequences`.
        kind: septuplets or triplets.
        part: of the split.

    Raises:
        InputError: the list is missing, empty or of another form, or its first sequences are not there.
    """

    def __init__(self, folder: Path, kind: VimeoKind, part: Part) -> None:
        self._folder = folder
        self._frames = kind.frames
        self._names = [name for name in _read_list(folder, kind) if in_part(name.split("/")[0], part)]
        if not self._names:
            raise InputError(f"{folder / kind.train_list} names too few sequences for a {part} part; {_advice(kind)}")
        for sequence in range(min(_LOOKED_FOR, len(self._names))):
            for frame in (0, kind.frames - 1):
                path = self._path(sequence, frame)
                if not path.is_file():
                    raise InputError(f"{path}, which {kind.train_list} names, does not exist; {_advice(kind)}")
        self._identity = identify([kind.name, part, *self._names])

    @property
    def identity(self) -> str:
        return self._identity

    def __len__(self) -> int:
        return len(self._names)

    def length(self, sequence: int) -> int:
        return self._frames

    def name(self, sequence: int, frame: int) -> str:
        return str(self._path(sequence, frame))

    def read(self, sequence: int, frame: int) -> Image:
        return read_image(self._path(sequence, frame))

    def _path(self, sequence: int, frame: int) -> Path:
        return self._folder / "sequences" / self._names[sequence] / f"im{frame + 1}.png"


def _read_list(folder: Path, kind: VimeoKind) -> list[str]:
    path = folder / kind.train_list
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise InputError(f"{path} cannot be read ({reason}); {_advice(kind)}") from error
    names = [name for line in lines if (name := line.strip())]
    for name in names:
        if not _SEQUENCE.fullmatch(name):
            raise InputError(f"{path}: {name[:80]!r} is no sequence such as 00001/0001; {_advice(kind)}")
    return names


def _advice(kind: VimeoKind) -> str:
    return (
        f"the folder must hold {kind.train_list} and sequences/00001/0001/im1.png to im{kind.frames}.png, as in the "
        f"{kind.name.removeprefix('vimeo-')} archive from {_HOME}"
    )
