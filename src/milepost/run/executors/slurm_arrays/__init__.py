"""Workers in Slurm's job arrays, submitted through submitit: an element of an array scores one unit.

All units are cut at the beginning and submitted as one array, since a job may wait in the queue for hours.
What is left of elements that failed is submitted again. Slurm requeues elements that are preempted; these
continue where their records end.
"""

from milepost.run.executors.slurm_arrays.executor import SlurmArrays
from milepost.run.executors.slurm_arrays.script import script_of

__all__ = ["SlurmArrays", "script_of"]
