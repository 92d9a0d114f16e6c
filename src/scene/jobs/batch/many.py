"""Many encodes, each by itself: one that fails does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from scene.errors import SceneError

log = logging.getLogger(__name__)

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Failure(Generic[Request]):
    """A request that failed, and why."""

    request: Request
    reason: str


def each(
    requests: Sequence[Request], work: Callable[[Request], Result], name: Callable[[Request], str]
) -> tuple[list[Result], list[Failure[Request]]]:
    """Does the work for each request in turn; a failure is logged as an error when it happens.

    Args:
        name: of a request, for the log.

    Returns:
        The results of those that succeeded, and the failures, each in order.
    """
    results, failures = [], []
    for number, request in enumerate(requests, 1):
        log.info("%s (%d of %d)", name(request), number, len(requests))
        try:
            results.append(work(request))
        except SceneError as error:
            failures.append(Failure(request, str(error)))
        except BrokenPipeError:
            # Whoever read what the work prints has left.
            raise
        except Exception as error:
            # A mistake of the program's own in one file is not one of all.
            failures.append(Failure(request, f"unexpected {type(error).__name__}: {error}"))
            log.debug("unexpected", exc_info=True)
        else:
            continue
        log.error("%s", failures[-1].reason)
    return results, failures
