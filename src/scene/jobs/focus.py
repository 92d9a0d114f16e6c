"""What matters in the frames of an encode: its maps on their way to the encoder, and to what smooths the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from scene.errors import InputError, UsageError
from scene.importance.priors import centre_map
from scene.options import CENTRE, FOUND, FocusBy
from scene.picture import Plane
from scene.video.encoding.plan import EncodePlan
from scene.video.encoding.regions import MaskReader
from scene.video.source.decode import DecodedFrame, Unit
from scene.video.source.open import count_pictures
from scene.video.source.probe import probe

if TYPE_CHECKING:
    from scene.importance.smoothing import PictureFocus
    from scene.jobs.encode import EncodeRequest


def check_focus(request: EncodeRequest, plan: EncodePlan) -> None:
    """Refuses a focus out of range, and masks that are not as many as frames."""
    focus = request.focus
    if not 0 <= focus.focus <= 1:
        raise UsageError(f"`focus` {focus.focus:g} is out of range; give 0 to 1.")
    if focus.focus_interval < 0:
        raise UsageError(f"`focus_interval` {focus.focus_interval} makes no sense; give frames, or 0 for one a shot.")
    if focus.focus_by not in get_args(FocusBy):
        raise UsageError(f"`focus_by` {focus.focus_by!r} is unknown; choose {', '.join(get_args(FocusBy))}.")
    if focus.smoothed and request.guard:
        raise UsageError("`guard` passes frames by, and with them the map; leave it out, or use `focus_by` encoder.")
    if not focus.focus or focus.focus_map in {FOUND, CENTRE}:
        return
    masks = Path(focus.focus_map)
    counts = [count_pictures(masks, probe(masks).stream_index)]
    if not request.allow_network:
        counts.append(count_pictures(request.source, plan.info.stream_index))
    if counts[0] != counts[-1]:
        raise InputError(
            f"{masks} has {counts[0]} pictures and {request.source} has {counts[1]}; give a mask for each frame."
        )


def focused(
    units: Callable[[], Iterator[Unit]], request: EncodeRequest
) -> tuple[Callable[[], Iterator[Unit]], PictureFocus | None]:
    """The units of a source, whose frames know what matters, and what smooths the rest of them later.

    A map is made once, where a frame comes in; whatever delays pictures on their way keeps their order.
    """
    focus = request.focus
    if not focus.focus:
        return units, None
    waiting: deque[Plane] = deque()

    def told() -> Iterator[Unit]:
        look = open_map(request)
        for unit in units():
            if unit.frame is not None:
                unit.frame.importance = look(unit.frame)
                if focus.smoothed:
                    waiting.append(unit.frame.importance)
            yield unit

    if not focus.smoothed:
        return told, None
    from scene.importance.smoothing import PictureFocus

    return told, PictureFocus(focus.smoothed, lambda picture: waiting.popleft())


def open_map(request: EncodeRequest, shots: Iterable[bool] | None = None) -> Callable[[DecodedFrame], Plane]:
    """Gives the map of each frame in turn.

    Args:
        shots: where these are from the middle of a video, of each whether it is the first of a shot.
    """
    where = request.focus.focus_map
    if where == FOUND:
        from scene.importance.maps import open_importance

        maps = open_importance(device=request.enhancement.device, interval=request.focus.focus_interval)
        if shots is not None:
            maps.follow(shots)
        return lambda frame: maps.next(frame.picture())
    if where == CENTRE:
        return lambda frame: centre_map(frame.av_frame.width, frame.av_frame.height)
    masks = MaskReader(Path(where))
    return lambda frame: masks.next()
