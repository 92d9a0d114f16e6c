"""A Ray cluster, or a Ray of this machine alone. Ray itself is optional and loaded when it is asked for."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from typing import Any

from scene.errors import MissingError, SceneError, UsageError

LOCAL = "local"
_CONNECT_TIMEOUT_S = 10.0


def cluster_address(asked: str) -> str:
    """Where a cluster is: "auto" is the one that $RAY_ADDRESS names, or without it `LOCAL`."""
    return (os.environ.get("RAY_ADDRESS") or LOCAL) if asked == "auto" else asked


def connect(place: str, cpus: int) -> tuple[Any, bool]:
    """Ray, and whether it was initialised here, which is then the caller's to shut down.

    Args:
        place: `LOCAL` for a Ray of this machine alone, else a cluster's address.
        cpus: of the former.

    Raises:
        MissingError: Ray is not installed.
        UsageError: the address is none.
        SceneError: the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Work asks for no share of a GPU and may use what there is.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise MissingError("work on a cluster needs Ray: pip install ray") from error
    if ray.is_initialized():
        return ray, False
    if place != LOCAL:
        _check_reachable(place)
    own = {"num_cpus": cpus, "include_dashboard": False} if place == LOCAL else {}
    try:
        ray.init(address=place, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        failure = "Ray cannot be started" if own else f"no Ray cluster answers at {place!r}"
        reason, _, _ = str(error).partition("\n")
        raise SceneError(f"{failure} ({reason})") from error
    return ray, True


def _check_reachable(address: str) -> None:
    """Asks whether anybody is there; Ray itself tries for minutes.

    Raises:
        UsageError: it is no address.
        SceneError: nobody is there.
    """
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"{address!r} is no address of a Ray cluster; give HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise SceneError(f"no Ray cluster answers at {address!r} ({error})") from error
