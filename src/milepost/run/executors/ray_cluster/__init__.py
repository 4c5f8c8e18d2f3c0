"""Workers on a Ray cluster: one actor per GPU, or per share of the cluster's cores.

Ray places the actors; units, requeueing and records are the driver's, as everywhere. An actor that is lost,
alone or with its node, is replaced by a new one wherever the cluster has room.
"""

from milepost.run.executors.ray_cluster.executor import RayCluster

__all__ = ["RayCluster"]
