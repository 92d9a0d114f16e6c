"""What training draws its crops from: sequences of frames, a photograph being a sequence of one."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

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
