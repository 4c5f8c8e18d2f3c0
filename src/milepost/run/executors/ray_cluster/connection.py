"""Connect to a Ray cluster that is running, or start one for this run alone."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator
from typing import Any

from milepost.cores import usable_cores
from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.display.journal import AT_ONCE
from milepost.run.executors.ray_cluster.listening_ports import listening_ports
from milepost.text.language import Phrase
from milepost.text.messages import one_line

ANSWER_S = 5.0
"""Time in which a cluster has to answer."""

CONNECT_TRIES = 3
"""Attempts to connect to a cluster that starts no server for its client."""

_CLIENT_SERVER_FAILED = re.compile("Starting Ray client server failed|Proxy failed to Connect to backend")
"""What Ray's proxy answers where the process that it starts for a client ends, or does not listen in time."""

logger = logging.getLogger("milepost.run")


@contextlib.contextmanager
def connected(config: EvalConfig) -> Iterator[None]:
    """Connect to the cluster while the block runs; a local one is started for it, and ended with it.

    Raises:
        MilepostError: Ray is not installed or does not start, there is no such cluster, or it has other
            versions.
    """
    if config.placement.ray_local:
        # Ray's own switch for hosts that are no cluster: then every server listens on 127.0.0.1 alone.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _import_ray()
    options: dict[str, Any] = {
        "logging_level": logging.ERROR,
        "log_to_driver": False,
        "namespace": "milepost",
    }
    if config.placement.ray_local:
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False  # where Ray was imported before
        options |= {"address": "local", "include_dashboard": False, "num_cpus": usable_cores()}
    else:
        options |= {"address": config.placement.ray_address or "auto"}
    try:
        _connect(ray, options)
    except Exception as error:  # Ray raises many types, `Exception` itself where a node does not start
        if config.placement.ray_local:
            raise _not_started(error) from error
        raise _no_cluster(config.placement.ray_address or "auto", error) from error
    try:
        if config.placement.ray_local:
            logger.warning(
                "Ray was started for this run alone; it listens on %s",
                ", ".join(listening_ports()) or "no port",
                extra=AT_ONCE,
            )
        yield
    finally:
        ray.shutdown()


def _connect(ray: Any, options: dict[str, Any]) -> None:
    """Connect to the cluster; try again where a busy head node did not start a server for this process."""
    for n_left in reversed(range(CONNECT_TRIES)):
        try:
            ray.init(**options)
            return
        except Exception as error:
            ray.shutdown()  # a client that was refused stays half connected, and would reach no other cluster
            if not n_left or not _CLIENT_SERVER_FAILED.search(str(error)):
                raise
            logger.warning(
                "the Ray cluster did not start a server for this process; trying again: %s",
                one_line(error),
                extra=AT_ONCE,
            )


def check_address(config: EvalConfig) -> None:
    """Check that Ray is installed and somebody answers at its address; Ray itself would try for minutes.

    Raises:
        MilepostError: it is not, or nobody does.
    """
    _import_ray()
    if config.placement.ray_local:
        return
    address = config.placement.ray_address or os.environ.get("RAY_ADDRESS") or "auto"
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # `auto`, or a name that Ray resolves
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MilepostError("--executor ray needs Ray", "pip install 'milepost[ray]'") from error
    return ray


def _not_started(error: Exception) -> MilepostError:
    return MilepostError(
        Phrase("Ray did not start on this machine: {text}", text=one_line(error)),
        "a busy machine may be too slow for it; its logs are in /tmp/ray/session_latest/logs",
    )


def _no_cluster(address: str, error: Exception) -> MilepostError:
    text = one_line(getattr(error, "strerror", None) or error, 400)
    hint = "start one with `ray start --head`, name it with --ray-address, or pass --ray-local"
    if "Could not find any running Ray" in text:  # Ray's own advice names an option of another command
        return MilepostError("no Ray cluster runs on this machine, and RAY_ADDRESS names none", hint)
    if "ray[client]" in text:
        return MilepostError("a ray:// address needs Ray's client", "pip install 'milepost[ray]'")
    if "ersion mismatch" in text:
        return MilepostError(
            Phrase("the Ray cluster has other versions than this process: {text}", text=text),
            "install the same Ray and Python on every host",
        )
    return MilepostError(
        Phrase("there is no Ray cluster at {address}: {text}", address=address, text=text), hint
    )
