"""Choose the executor of a run from its options and the devices of this machine."""

from __future__ import annotations

from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.executors.executor import Executor
from milepost.run.executors.local import LocalWorkers, local_places
from milepost.run.executors.this_process import ThisProcess


def check_cluster(config: EvalConfig) -> None:
    """Check, before any work, that the cluster of a run lets this process in.

    Raises:
        MilepostError: there is none, or it has other versions.
    """
    if config.placement.executor == "ray" and not config.placement.ray_local:
        from milepost.run.executors.ray_cluster.connection import connected

        with connected(config):
            pass


def choose_executor(config: EvalConfig) -> Executor:
    """Return the executor that does the jobs of a run.

    Raises:
        MilepostError: the options contradict each other, or ask for devices that are not here.
    """
    if config.placement.executor != "local":
        return _on_cluster(config)
    places = local_places(config)
    return ThisProcess() if places is None else LocalWorkers(places)


def _on_cluster(config: EvalConfig) -> Executor:
    """Return the executor of a cluster; its library is imported only now."""
    if config.engine == "openai":
        raise MilepostError("--engine openai needs no workers", "leave out --executor")
    if config.placement.devices or config.device.startswith(("cuda:", "mps")):
        raise MilepostError(
            "--devices and --device cuda:N name devices of this machine", "leave them out with --executor"
        )
    if config.placement.executor == "slurm":
        from milepost.run.executors.slurm_arrays import SlurmArrays

        return SlurmArrays(config)
    from milepost.run.executors.ray_cluster import RayCluster

    return RayCluster(config)
