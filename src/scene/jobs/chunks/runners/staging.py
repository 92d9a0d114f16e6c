"""The source and the chunks by way of Ray, for machines that share no storage: there once, and back chunk by chunk."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scene.errors import InputError, SceneError
from scene.files import PendingFile, write_atomically
from scene.jobs.chunks.folder import BusyError, WorkFolder
from scene.jobs.chunks.journal import FileIdentity, JobPlan, identify, load_plan
from scene.jobs.chunks.run import run_chunk

# Of the source in one message.
_PART_BYTES = 32 << 20
_POLL_S = 0.5
# How long machines may take to remove their copies.
_CLEAR_TIMEOUT_S = 20.0


class SourceParts:
    """An actor beside the driver that reads the source for the others; it keeps it open."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("rb")  # noqa: SIM115 - as long as the actor lives

    def read(self, offset: int) -> bytes:
        """A part of the file, empty behind its end."""
        self._file.seek(offset)
        return self._file.read(_PART_BYTES)


class Staging:
    """The driver's side.

    Args:
        ray: initialised, on a machine of the cluster.
        folder: of the job.
        plan: of the job.
        local: a folder of each machine's own.

    Raises:
        InputError: the source is missing or has changed.
    """

    def __init__(self, ray: Any, folder: WorkFolder, plan: JobPlan, local: Path) -> None:
        self._ray, self._folder = ray, folder
        self._local = str(local)
        self._name = plan.identity
        if identify(plan.request.source) != plan.source:
            raise InputError(f"{plan.request.source} has changed since the job was planned; plan it again.")
        here = self._on(ray.get_runtime_context().get_node_id())
        self._parts = ray.remote(num_cpus=0)(SourceParts).options(**here).remote(str(plan.request.source))
        self._plan = ray.put(folder.plan.read_bytes())
        # It has the file open from now on.
        ray.get(self._parts.read.remote(plan.source.bytes))

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Of `run_staged`, behind the chunk's number."""
        return self._parts, self._plan, self._local, self._name

    def take(self, index: int, content: bytes) -> None:
        """Puts a chunk's file into the job's folder."""
        try:
            write_atomically(self._folder.chunk(index), content)
        except OSError as error:
            raise SceneError(f"{self._folder.chunk(index)} cannot be written: {error.strerror}.") from None

    def clear(self) -> None:
        """Removes the copies on all machines."""
        nodes = [node["NodeID"] for node in self._ray.nodes() if node["Alive"]]
        remove = self._ray.remote(num_cpus=0, max_retries=0)(_remove)
        left = [remove.options(**self._on(node)).remote(self._local, self._name) for node in nodes]
        self._ray.wait(left, num_returns=len(left), timeout=_CLEAR_TIMEOUT_S)
        self._ray.kill(self._parts)

    def _on(self, node: str) -> dict[str, Any]:
        strategies = self._ray.util.scheduling_strategies
        return {"scheduling_strategy": strategies.NodeAffinitySchedulingStrategy(node, soft=False)}


def run_staged(index: int, parts: Any, plan: bytes, local: str, name: str) -> tuple[int, bytes]:
    """Runs on a machine of the cluster: encodes a chunk in a folder of its own; its frames, and its file."""
    import ray

    folder = WorkFolder(_place(local, name))
    folder.make()
    write_atomically(folder.plan, plan)
    identity = load_plan(folder.plan).source
    source = folder.path / "source"
    while True:
        try:
            with folder.locked("source"):
                _fetch(source, identity, lambda offset: ray.get(parts.read.remote(offset)))
            break
        except BusyError:
            # Another chunk's process on this machine is at it.
            time.sleep(_POLL_S)
    result = run_chunk(folder.path, index, source=source)
    content = folder.chunk(index).read_bytes()
    folder.chunk(index).unlink()
    return result.frames, content


def _fetch(source: Path, identity: FileIdentity, read: Callable[[int], bytes]) -> None:
    """Copies the source, unless it is there. Raises SceneError."""
    if source.exists() and identify(source) == identity:
        return
    with PendingFile(source) as pending:
        try:
            with pending.path.open("wb") as file:
                while part := read(file.tell()):
                    file.write(part)
        except OSError as error:
            raise SceneError(f"{source} cannot be written: {error.strerror}.") from None
        pending.publish(overwrite=True)


def _place(local: str, name: str) -> Path:
    # Several nodes may be on one machine.
    import ray

    return Path(local) / f"scene-{os.getuid()}" / name / ray.get_runtime_context().get_node_id()


def _remove(local: str, name: str) -> None:
    place = _place(local, name)
    shutil.rmtree(place, ignore_errors=True)
    for folder in place.parents[:2]:
        try:
            folder.rmdir()
        except OSError:
            return
