"""A grid's missing points measured through Ray, on one machine or on many.

A parcel is what goes to a machine: one clip, one method and one codec, with all that is needed by value, since
machines may share no file system. The machine makes the reference and the variant for itself and sends every result
as soon as there is one; only the driver writes to the cache. With the first parcel of a clip and method goes its
treatment. So a network runs once a codec and clip instead of once a clip, which is little beside seven encodes and
comparisons, and no raw video crosses the network. Of a network that is told the quantiser a parcel is one step instead
of one codec: it runs once for each anyway.

Every machine needs this package, the driver's version of PyAV and an ffmpeg of the driver's build (the cache's keys
name it): at the driver's path, or the one that `find_ffmpeg` finds.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scene import __version__
from scene.errors import MissingError, SceneError, UsageError
from scene.evaluation.grid.local import Site
from scene.evaluation.grid.tasks import ATTEMPTS, FATAL, Board, Outcome, Task, TreatmentTask, by_step, perform, tried
from scene.evaluation.grid.variant import make_variant
from scene.measure.clip import Clip, Recipe, make_reference
from scene.measure.workspace import workspace
from scene.video.encoders.elementary_stream import pyav_version
from scene.video.ffmpeg import FFmpeg, find_ffmpeg

_log = logging.getLogger(__name__)

# How long cancelled parcels may take to kill their encoders, and how often new machines are looked for.
_FAREWELL_S = 20.0
_LOOK_S = 5.0
_KNOCK_S = 10.0


@dataclass(frozen=True, slots=True)
class _Parcel:
    """Tasks of one clip, method and step for one machine, by index on the driver's board."""

    tasks: tuple[tuple[int, Task], ...]
    recipe: Recipe
    ffmpeg: Path
    build: str
    pyav: str
    version: str
    threads: int
    device: str
    attempts: int = 0

    @property
    def clip(self) -> Clip:
        return self.tasks[0][1].clip


def measure_on_cluster(board: Board, site: Site, address: str) -> int:
    """Does the missing tasks of the board; returns how many were done side by side at the start.

    Args:
        site: `folder` is not used, `jobs` and `threads` only if a Ray is started here; a cluster's machines do as many
            parcels at once as they have cores.
        address: "auto" for the cluster that $RAY_ADDRESS names, or without it a Ray of this machine alone, which ends
            with this call; else a cluster's address.

    Raises:
        MissingError: Ray is not installed, or a machine lacks what is needed or has another build or version of it.
        UsageError: the address is none, or see `scene.evaluation.grid.tasks.FATAL`.
        SceneError: the cluster cannot be reached, or the cache cannot be written to.
    """
    place = (os.environ.get("RAY_ADDRESS") or "local") if address == "auto" else address
    ray, ours = _connect(place, site)
    driver = _Driver(ray, board, site if place == "local" else replace(site, threads=1))
    try:
        slots = driver.slots
        driver.run()
        return slots
    finally:
        driver.cancel()
        if ours:
            ray.shutdown()


def _connect(place: str, site: Site) -> tuple[Any, bool]:
    """Ray, and whether it was initialised here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A parcel asks for no share of a GPU and may use what there is.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise MissingError("measuring on a cluster needs Ray: pip install scene-codec[cluster]") from error
    if ray.is_initialized():
        return ray, False
    if place != "local":
        _knock(place)
    own = {"num_cpus": site.jobs * site.threads, "include_dashboard": False} if place == "local" else {}
    try:
        ray.init(address=place, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        failure = "Ray cannot be started" if own else f"no Ray cluster answers at {place!r}"
        reason, _, _ = str(error).partition("\n")
        raise SceneError(f"{failure} ({reason})") from error
    return ray, True


def _knock(address: str) -> None:
    """Asks whether anybody is there; Ray itself tries for minutes.

    Raises:
        UsageError: it is no address.
        SceneError: nobody is there.
    """
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"{address!r} is no address of a Ray cluster; give HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
    except (OSError, OverflowError) as error:
        raise SceneError(f"no Ray cluster answers at {address!r} ({error})") from error


class _Driver:
    """Hands parcels out and takes results in."""

    def __init__(self, ray: Any, board: Board, site: Site) -> None:
        self.ray, self.board, self.site = ray, board, site
        self.waiting = deque(_parcels(board, site))
        self.flying: dict[Any, _Parcel] = {}
        self.contents: dict[str, Any] = {}
        self.parcels_left = Counter(parcel.clip.sha256 for parcel in self.waiting)
        self.send = ray.remote(num_cpus=site.threads, max_retries=0, num_returns="streaming")(_unpack)

    @property
    def slots(self) -> int:
        """Parcels that the cluster can work on at once, as it is now."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)) // self.site.threads)

    def run(self) -> None:
        while self.waiting or self.flying:
            # No further ahead than that: each clip on its way takes room in Ray's memory.
            while self.waiting and len(self.flying) < 2 * self.slots:
                self._hand_out(self.waiting.popleft())
            if not self.flying:
                continue
            ready, _ = self.ray.wait(list(self.flying), num_returns=1, timeout=_LOOK_S)
            for stream in ready:
                self._take_in(stream)

    def cancel(self) -> None:
        """Ends what is under way, encoders included."""
        for stream in self.flying:
            self.ray.cancel(stream)
        waiting = list(self.flying)
        while waiting:
            ready, waiting = self.ray.wait(waiting, num_returns=1, timeout=_FAREWELL_S)
            if not ready:
                return
            waiting += [stream for stream in ready if not self._ended(stream)]

    def _ended(self, stream: Any) -> bool:
        try:
            self.ray.get(next(stream))
        except (StopIteration, KeyboardInterrupt, self.ray.exceptions.RayError):
            return True
        return False

    def _hand_out(self, parcel: _Parcel) -> None:
        clip = parcel.clip
        if clip.sha256 not in self.contents:
            try:
                # Mapped, so that it goes from the disk to Ray's memory without a copy in ours.
                content = np.asarray(np.memmap(clip.path, np.uint8, "r"))
            except (OSError, ValueError) as error:
                self.board.lose([index for index, _ in parcel.tasks], f"{clip.name} cannot be read ({error})")
                return
            self.contents[clip.sha256] = self.ray.put(content)
        self.flying[self.send.remote(parcel, self.contents[clip.sha256])] = parcel

    def _take_in(self, stream: Any) -> None:
        try:
            index, outcome = self.ray.get(next(stream))
        except StopIteration:
            self._close(self.flying.pop(stream), "it ended early")
        except self.ray.exceptions.RayError as error:
            # The machine or its process is gone, or there is an error in the code that runs there.
            self._close(self.flying.pop(stream), str(error).strip().rpartition("\n")[2])
        else:
            if isinstance(outcome, SceneError):
                raise outcome
            self.board.finish(index, outcome)

    def _close(self, parcel: _Parcel, reason: str) -> None:
        missing = set(self.board.missing)
        rest = tuple((index, task) for index, task in parcel.tasks if index in missing)
        if rest and parcel.attempts + 1 < ATTEMPTS:
            _log.warning("%s: a worker was lost: %s (trying once more)", rest[0][1].place, reason)
            self.waiting.append(replace(parcel, tasks=rest, attempts=parcel.attempts + 1))
            return
        if rest:
            self.board.lose([index for index, _ in rest], f"a worker was lost: {reason}")
        key = parcel.clip.sha256
        self.parcels_left[key] -= 1
        if not self.parcels_left[key]:
            self.contents.pop(key, None)


def _parcels(board: Board, site: Site) -> Iterator[_Parcel]:
    for _, group in groupby(
        board.missing, key=lambda index: (id(board.tasks[index].clip), id(board.tasks[index].method))
    ):
        yield from (
            _Parcel(
                tasks=tuple((index, board.tasks[index]) for index in indices),
                recipe=site.recipe,
                ffmpeg=site.ffmpeg.path.absolute(),
                build=site.ffmpeg.build,
                pyav=pyav_version(),
                version=__version__,
                threads=site.threads,
                device=site.device,
            )
            for indices in _portions(board, list(group))
        )


def _portions(board: Board, indices: Sequence[int]) -> Iterator[list[int]]:
    """Splits the tasks of one clip and method by step, or by codec; a treatment then goes with what follows it."""
    if board.tasks[indices[0]].method.conditioned:
        yield from by_step(board.tasks, indices)
        return
    lists: list[list[int]] = []
    codec = None
    for index in indices:
        task = board.tasks[index]
        own = None if isinstance(task, TreatmentTask) else task.run.codec.name
        if not lists or (codec is not None and own != codec):
            lists.append([])
        lists[-1].append(index)
        codec = own
    yield from lists


def _unpack(parcel: _Parcel, content: npt.NDArray[np.uint8]) -> Iterator[tuple[int, Outcome | str | SceneError]]:
    """Runs on a machine of the cluster: the results of a parcel, one by one, or what ends the whole grid."""
    try:
        ffmpeg = _local_ffmpeg(parcel)
        with workspace() as folder:
            yield from _work(parcel, ffmpeg, content, folder)
    except FATAL as error:
        yield -1, error


def _work(
    parcel: _Parcel, ffmpeg: FFmpeg, content: npt.NDArray[np.uint8], folder: Path
) -> Iterator[tuple[int, Outcome | str]]:
    # Under its own name: ffmpeg goes by it where the content does not tell.
    source = folder / "source" / parcel.clip.path.name
    source.parent.mkdir()
    content.tofile(source)
    clip, first = replace(parcel.clip, path=source), parcel.tasks[0][1]
    reference = tried(lambda: make_reference(ffmpeg, clip, parcel.recipe, folder / "reference.y4m"), clip.name)
    processed = (
        reference
        if isinstance(reference, str)
        else tried(
            lambda: make_variant(
                *(ffmpeg, first.method, reference, folder / "variant.y4m"), step=first.step, device=parcel.device
            ),
            f"{clip.name}, {first.method.label}",
        )
    )
    for index, task in parcel.tasks:
        if isinstance(reference, str) or isinstance(processed, str):
            yield index, str(processed)
            continue
        attempt = partial(perform, ffmpeg, task, reference, processed, folder=folder, threads=parcel.threads)
        yield index, tried(attempt, task.place)


def _local_ffmpeg(parcel: _Parcel) -> FFmpeg:
    """This machine's ffmpeg.

    Raises:
        MissingError: it is another build than the driver's, or this package or PyAV is of another version.
    """
    machine = os.uname().nodename
    if __version__ != parcel.version:
        raise MissingError(f"{machine} has scene {__version__}, not {parcel.version}; install the same version there")
    if pyav_version() != parcel.pyav:
        raise MissingError(
            f"{machine} has PyAV {pyav_version()}, whose encoders are not those of {parcel.pyav}; install that"
        )
    found = find_ffmpeg(parcel.ffmpeg if parcel.ffmpeg.exists() else None)
    if found.build != parcel.build:
        found = find_ffmpeg()
    if found.build != parcel.build:
        raise MissingError(
            f"{machine} has another build of ffmpeg ({found.version}, {found.build}) than the driver ({parcel.build}); "
            f"install the same there, or name it by $SCENE_FFMPEG"
        )
    return found
