"""A job's chunks through Ray, on the machines of a cluster."""

from __future__ import annotations

import logging
import os
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scene.cluster import LOCAL, cluster_address, connect
from scene.errors import SceneError
from scene.jobs.chunks.folder import BusyError, WorkFolder
from scene.jobs.chunks.journal import JobPlan, load_plan
from scene.jobs.chunks.run import finished_chunk, run_chunk
from scene.jobs.chunks.runners.parallel import ATTEMPTS, raise_answer
from scene.jobs.chunks.runners.staging import Staging, run_staged
from scene.progress import OnProgress, Progress, silent

log = logging.getLogger(__name__)

# An encoder's threads and an enhancer beside them keep about so many cores busy.
_CORES = 2
_POLL_S = 2.0
# How long cancelled chunks may take to end their encoders.
_CANCEL_TIMEOUT_S = 20.0


def run_on_cluster(work: Path, address: str, on_progress: OnProgress = silent, *, stage: Path | None = None) -> None:
    """Encodes all chunks of a planned job that are not done yet.

    A machine that is lost loses the chunks that it was at, which others do then.

    Args:
        work: on storage that all machines have under this name, as the source is, unless `stage` is given.
        address: "auto" for the cluster that $RAY_ADDRESS names, or without it a Ray of this machine alone; else a
            cluster's address.
        stage: a folder on each machine's own disk, for a copy of the source that is removed in the end; chunks come
            back through Ray. This machine has to be one of the cluster's.

    Raises:
        MissingError: Ray is not installed, or a machine has another version of the program.
        UsageError: the address is none.
        SceneError: the cluster cannot be reached, or a chunk failed three times.
        InputError: see `run_chunk`.
    """
    folder = WorkFolder(work.absolute())
    plan = load_plan(folder.plan)
    place = cluster_address(address)
    ray, ours = connect(place, os.cpu_count() or 1)
    with ExitStack() as ending:
        if ours:
            ending.callback(ray.shutdown)
        staging = None
        if stage is not None:
            staging = Staging(ray, folder, plan, stage.absolute())
            ending.callback(staging.clear)
        driver = _Driver(ray, folder, plan, on_progress, staging, one_machine=place == LOCAL)
        ending.callback(driver.cancel)
        driver.run()


class _Driver:
    """Hands chunks out, and again those whose machine is lost."""

    def __init__(
        self,
        ray: Any,
        folder: WorkFolder,
        plan: JobPlan,
        on_progress: OnProgress,
        staging: Staging | None,
        *,
        one_machine: bool,
    ) -> None:
        self._ray, self._folder, self._plan, self._on_progress = ray, folder, plan, on_progress
        self._staging = staging
        cores = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        gpus = 1 if plan.request.enhancement.device == "cuda" else 0
        send = ray.remote(num_cpus=max(1, min([_CORES, *cores])), num_gpus=gpus, max_retries=0)
        self._send = send(_run)
        self._running: dict[Any, int] = {}
        self._elsewhere: list[int] = []
        self._attempts: Counter[int] = Counter()
        self._left = [index for index in range(plan.chunks) if finished_chunk(folder, plan, index) is None]

    def run(self) -> None:
        """Until all is done."""
        for index in self._left:
            self._submit(index)
        self._report()
        while self._running or self._elsewhere:
            ready, _ = (
                self._ray.wait(list(self._running), num_returns=1, timeout=_POLL_S) if self._running else ([], [])
            )
            for reference in ready:
                self._receive(reference, self._running.pop(reference))
                self._report()
            if not ready:
                # What other processes were at may be done.
                for index in self._elsewhere:
                    self._submit(index)
                self._elsewhere = []

    def cancel(self) -> None:
        """Ends what is under way, encoders included."""
        for reference in self._running:
            self._ray.cancel(reference)
        if self._running:
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=_CANCEL_TIMEOUT_S)

    def _submit(self, index: int) -> None:
        staged = () if self._staging is None else self._staging.arguments
        self._running[self._send.remote(str(self._folder.path), index, *staged)] = index

    def _receive(self, reference: Any, index: int) -> None:
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # The machine or its process is gone, or there is an error in the code that runs there.
            cause = getattr(error, "cause", None) or error
            self._failed(index, f"a worker was lost: {str(cause).strip().partition(chr(10))[0]}")
            return
        if "done" in answer:
            if self._staging is not None:
                self._staging.take(index, answer["file"])
            self._left.remove(index)
        elif "busy" in answer:
            self._elsewhere.append(index)
        else:
            raise_answer(answer)
            self._failed(index, answer["error"])

    def _failed(self, index: int, why: str) -> None:
        self._attempts[index] += 1
        if self._attempts[index] == ATTEMPTS:
            raise SceneError(f"chunk {index} failed {ATTEMPTS} times, at last: {why}")
        log.warning("chunk %d: %s It is tried again.", index, why)
        self._submit(index)

    def _report(self) -> None:
        left = sum(end - first for first, end in map(self._plan.span, self._left))
        self._on_progress(Progress(self._plan.frames - left, self._plan.frames))


def _run(work: str, index: int, *staged: Any) -> dict[str, Any]:
    """Runs on a machine of the cluster, and answers as `scene.jobs.chunks.runners.worker` does."""
    try:
        if staged:
            frames, content = run_staged(index, *staged)
            return {"done": frames, "file": content}
        return {"done": run_chunk(Path(work), index).frames}
    except BusyError:
        return {"busy": True}
    except SceneError as error:
        return {"error": str(error), "kind": type(error).__name__}
