"""Runs a job on a Ray cluster of two nodes on this machine: `python cluster_child.py WORK [lose]`.

With `lose` the second node is killed once chunks are under way on both. Says "lost" when that has been done.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path

from ray.cluster_utils import Cluster

import scene


def main(work: Path, lose: bool) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    second = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()

    def kill() -> None:
        while len(list(work.glob("chunks/.*.part"))) < 2:
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        print("lost", flush=True)

    if lose:
        threading.Thread(target=kill, daemon=True).start()
    readings = []
    scene.run_on_cluster(work, cluster.address, lambda reading: readings.append((reading.done, reading.total)))
    print("done", readings[-1], flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), "lose" in sys.argv)
