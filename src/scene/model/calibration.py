"""The few numbers of a model that an encoder itself settles: `scene calibrate` finds them, checkpoints carry them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scene.errors import UsageError

BANDS = 5
# A level of the pyramid of less has nothing to be halved.
LEAST_SIDE = 4
# Terms in the quantiser are 0 at this step, in 8-bit code values.
MIDDLE_STEP = 20.0

# One number for each band of detail, the finest first.
Row = tuple[float, ...]
_NONE: Row = (0.0,) * BANDS


@dataclass(frozen=True, slots=True)
class Bank:
    """Gains of five bands of detail, the finest first; at no gain a band stays as it is.

    The gain of a band's sample b, before an encode at the quantiser step s, is

        gain + q * gain_slope + (faint + q * faint_slope) * exp(-(b / (reach * s))^2),  q = log2(s / 20) / 2:

    detail that is faint beside the step, which the encoder would lose, has a gain of its own.

    Raises:
        UsageError: a number that is not finite, a reach that is not positive, or too many or too few of them.
    """

    gain: Row = _NONE
    gain_slope: Row = _NONE
    faint: Row = _NONE
    faint_slope: Row = _NONE
    reach: Row = (0.4,) * BANDS

    def __post_init__(self) -> None:
        if any(len(row) != BANDS or not all(map(math.isfinite, row)) for row in (*self._gains, self.reach)):
            raise UsageError(f"a bank must have rows of {BANDS} finite numbers")
        if min(self.reach) <= 0:
            raise UsageError("a bank's reach must be positive")

    def scaled(self, factor: float) -> Bank:
        """With so many times the change."""
        gain, gain_slope, faint, faint_slope = (tuple(number * factor for number in row) for row in self._gains)
        return Bank(gain, gain_slope, faint, faint_slope, self.reach)

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return any(map(any, self._gains))

    @property
    def _gains(self) -> tuple[Row, Row, Row, Row]:
        return self.gain, self.gain_slope, self.faint, self.faint_slope


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a model is applied before one encoder.

    Attributes:
        temporal: of the filter along the motion before everything else: sigma, in 8-bit codes, is the first number
            times 2 to the power of the second times log2(step / 20). None for no such filter.
        bank: of `scene.enhance.bank.bank_change`.
        strength: factor of the network's change.
        step: factor of the encoder's quantiser step, for networks that take it.
        neighbours: on either side, 1 or 2, that the temporal filter looks at; one takes half the time.

    Raises:
        UsageError: a number that is not finite, or is negative where it must not be.
    """

    temporal: tuple[float, float] | None = None
    bank: Bank = Bank()
    strength: float = 1.0
    step: float = 1.0
    neighbours: int = 2

    def __post_init__(self) -> None:
        numbers = [*(self.temporal or ()), self.strength, self.step]
        if self.temporal is not None and (len(self.temporal) != 2 or self.temporal[0] < 0):
            raise UsageError("a calibration's temporal must be a sigma and its slope")
        if self.neighbours not in {1, 2}:
            raise UsageError("a calibration's neighbours must be 1 or 2")
        if not all(map(math.isfinite, numbers)) or self.strength < 0 or self.step <= 0:
            raise UsageError("a calibration's numbers must be finite, its strength not negative and its step positive")

    def sigma(self, step: float) -> float:
        """Of the temporal filter, in 8-bit codes, before an encode at this quantiser step; 0 without one."""
        if self.temporal is None:
            return 0.0
        level, slope = self.temporal
        return level * 2 ** (slope * math.log2(step / MIDDLE_STEP))


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
            # Files of before had no such number.
            neighbours=int(one.get("neighbours", 2)),
            bank=bank_from_json(one["bank"]),
            strength=float(one["strength"]),
            step=float(one["step"]),
        )
        for name, one in data.items()
    }


def bank_from_json(data: Any) -> Bank:
    """A bank of lists by name; errors as for `from_json`, and AttributeError."""
    return Bank(**{name: tuple(map(float, row)) for name, row in data.items()})
