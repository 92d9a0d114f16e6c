"""Runs a job on a Ray cluster of two nodes on this machine: `python cluster_child.py WORK [lose] [stage]`.

With `lose` the second node is killed once chunks are under way on both. Says "lost" when that has been done. With
`stage` the source is out of the nodes' sight, and so is the plan.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path

from ray.cluster_utils import Cluster

import scene
from scene.progress import Progress


def main(work: Path, lose: bool, stage: bool) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    local = work.parent / "local"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    second = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()

    def kill() -> None:
        while len([*work.glob("chunks/.*.part"), *local.rglob("chunks/.*.part")]) < 2:
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        print("lost", flush=True)

    if lose:
        threading.Thread(target=kill, daemon=True).start()
    readings = []
    source, hidden = work.parent / "in.mkv", work.parent / "hidden"

    def report(reading: Progress) -> None:
        readings.append((reading.done, reading.total))
        if stage and source.exists():
            source.rename(hidden)
            (work / "plan.json").rename(work / "hidden.json")

    scene.run_on_cluster(work, cluster.address, report, stage=local if stage else None)
    if stage:
        hidden.rename(source)
        (work / "hidden.json").rename(work / "plan.json")
    print("done", readings[-1], flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), "lose" in sys.argv, "stage" in sys.argv)
