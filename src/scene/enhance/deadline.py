"""Which frames there is time to enhance, and one picture at a time."""

from __future__ import annotations

from collections.abc import Callable

from scene.enhance.enhancer import Enhancer
from scene.picture import Picture

# Of the budget: after frames were passed through, the next one is enhanced when it waits for no longer than this.
_CAUGHT_UP = 0.25


class Deadline:
    """Decides by how long a frame has waited.

    Where enhancement is too slow, frames wait for each other more and more. Once one has waited for longer than the
    budget, it and those behind it are passed through, until the queue has all but gone: so frames that are enhanced
    come in runs, rather than every other one, which would flicker.

    Args:
        budget: seconds that a frame may wait.
    """

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._late = False

    def passes(self, waited: float) -> bool:
        """Whether a frame that has waited for so many seconds is passed through."""
        self._late = waited > (self._budget * _CAUGHT_UP if self._late else self._budget)
        return self._late


def stepwise(enhancer: Enhancer) -> Callable[[Picture], Picture]:
    """One picture in, the same one out enhanced; pictures may be left out. The enhancer must not look ahead."""
    # A frame is not kept waiting for the next ones.
    enhancer.batch = 1
    given: list[Picture] = []
    # An endless iterator, which is asked for one picture at a time.
    stream = enhancer.stream(iter(lambda: given.pop(), None))

    def step(picture: Picture) -> Picture:
        given.append(picture)
        return next(stream)

    return step
