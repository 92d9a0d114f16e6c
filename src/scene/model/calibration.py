"""The few numbers of a model that an encoder itself settles: `scene calibrate` finds them, checkpoints carry them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scene.errors import UsageError

Gains = tuple[tuple[float, ...], ...]

BANDS = 5
# Constant gains, gains by the quantiser, gains by local activity.
ROWS = 3
NO_GAINS: Gains = ((0.0,) * BANDS,) * ROWS
# Terms in the quantiser are 0 at this step, in 8-bit code values.
MIDDLE_STEP = 20.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a model is applied before one encoder.

    Attributes:
        temporal: of the filter along the motion before everything else: sigma, in 8-bit codes, is the first number
            times 2 to the power of the second times log2(step / 20). None for no such filter.
        bank: gains of `scene.enhance.bank.bank_change`, ROWS rows of BANDS numbers.
        strength: factor of the network's change.
        step: factor of the encoder's quantiser step, for networks that take it.

    Raises:
        UsageError: a number that is not finite, is negative where it must not be, or too many or too few of them.
    """

    temporal: tuple[float, float] | None = None
    bank: Gains = NO_GAINS
    strength: float = 1.0
    step: float = 1.0

    def __post_init__(self) -> None:
        if len(self.bank) != ROWS or any(len(row) != BANDS for row in self.bank):
            raise UsageError(f"a calibration's bank must have {ROWS} rows of {BANDS} numbers")
        numbers = [*(self.temporal or ()), self.strength, self.step, *(gain for row in self.bank for gain in row)]
        if self.temporal is not None and (len(self.temporal) != 2 or self.temporal[0] < 0):
            raise UsageError("a calibration's temporal must be a sigma and its slope")
        if not all(map(math.isfinite, numbers)) or self.strength < 0 or self.step <= 0:
            raise UsageError("a calibration's numbers must be finite, its strength not negative and its step positive")

    def sigma(self, step: float) -> float:
        """Of the temporal filter, in 8-bit codes, before an encode at this quantiser step; 0 without one."""
        if self.temporal is None:
            return 0.0
        level, slope = self.temporal
        return level * 2 ** (slope * math.log2(step / MIDDLE_STEP))

    @property
    def has_bank(self) -> bool:
        """Whether the bank changes anything."""
        return any(gain for row in self.bank for gain in row)


def to_json(calibrations: Mapping[str, Calibration]) -> dict[str, Any]:
    """By encoder, as checkpoints hold them."""
    return {name: asdict(one) for name, one in calibrations.items()}


def from_json(data: Any) -> dict[str, Calibration]:
    """The inverse of `to_json`.

    Raises:
        UsageError, TypeError, ValueError, KeyError: it is something else.
    """
    return {
        str(name): Calibration(
            temporal=None if one["temporal"] is None else tuple(map(float, one["temporal"])),  # type: ignore[arg-type]
            bank=tuple(tuple(map(float, row)) for row in one["bank"]),
            strength=float(one["strength"]),
            step=float(one["step"]),
        )
        for name, one in data.items()
    }
