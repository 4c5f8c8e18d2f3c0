"""Cut a run into jobs, and say what Slurm is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.buckets import in_bucket
from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.model_memory import memory_needed
from milepost.run.scoring.jobs import CheckpointJob
from milepost.text.language import Phrase

CLUSTER = "MILEPOST_SUBMITIT_CLUSTER"
"""Environment variable: `local` runs the array as processes of this machine, to try it without Slurm."""
MOST_ELEMENTS = 64
"""Elements of an array that run at a time, unless --workers says otherwise."""
STARTED_BY_SUBMITIT = "python -u -m submitit.core._submit {folder}"


@dataclass(frozen=True, slots=True)
class Cut:
    """The first cut of the work into units."""

    n_units: int
    tokens: int
    """Most tokens of a unit."""


def cut_of(config: EvalConfig, n_tokens: Sequence[int]) -> Cut:
    """Cut the work into units: whole checkpoints, or parts of them where there are more workers.

    Args:
        n_tokens: what is missing of each checkpoint.
    """
    parts = -(-_n_workers(config, len(n_tokens)) // max(1, len(n_tokens)))
    tokens = max(1, -(-max(n_tokens, default=1) // parts))
    return Cut(sum(-(-n // tokens) for n in n_tokens), tokens)


def _n_workers(config: EvalConfig, n_jobs: int) -> int:
    return config.placement.n_workers or min(MOST_ELEMENTS, n_jobs)


def check_place(results: Path) -> None:
    """Refuse results in a bucket: the jobs' plans and logs lie in the results folder.

    Raises:
        MilepostError: they are in one.
    """
    if in_bucket(results):
        raise MilepostError(
            Phrase(
                "--executor slurm keeps plans and logs in the results folder, and {results} is in a bucket",
                results=results,
            ),
            "choose a folder on a shared disk, or start one `milepost run` per job: they share the work",
        )


def script_of(config: EvalConfig, jobs: Sequence[CheckpointJob]) -> str:
    """Return the batch script that the jobs would be submitted with; Slurm is not needed."""
    import_submitit()
    from submitit.slurm.slurm import _make_sbatch_string

    left = [job for job in jobs if job.missing]
    check_place(config.output_path)
    folder = config.output_path.absolute() / "slurm"
    command = STARTED_BY_SUBMITIT.format(folder=folder)
    parameters = {
        name.removeprefix("slurm_"): value for name, value in _parameters(config, memory_needed(left)).items()
    }
    script: str = _make_sbatch_string(
        command=command,
        folder=folder,
        map_count=max(1, cut_of(config, [job.n_tokens for job in left]).n_units),
        **parameters,
    )
    return script


def _parameters(config: EvalConfig, memory: int) -> dict[str, Any]:
    """Return the parameters of the jobs, by submitit's names for them."""
    place = config.placement
    given: dict[str, Any] = {
        "slurm_job_name": "milepost",
        "slurm_time": place.slurm_time,
        "slurm_partition": place.slurm_partition,
        "slurm_account": place.slurm_account,
        "slurm_qos": place.slurm_qos,
        "slurm_gpus_per_node": place.slurm_gpus or None,
        "slurm_cpus_per_task": place.slurm_cpus,
        "slurm_mem": f"{-(-memory // (1 << 30))}GB",
        "slurm_array_parallelism": _n_workers(config, MOST_ELEMENTS),
        "slurm_additional_parameters": {"requeue": True, **dict(place.slurm_options)},
    }
    return {name: value for name, value in given.items() if value is not None}


def import_submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise MilepostError("--executor slurm needs submitit", "pip install 'milepost[slurm]'") from error
    return submitit


def submitit_executor(config: EvalConfig, folder: Path, memory: int) -> Any:
    """Return submitit's executor, which writes its files into `folder`."""
    cluster = os.environ.get(CLUSTER) or "slurm"
    executor = import_submitit().AutoExecutor(folder=folder, cluster=cluster)
    if cluster == "local":
        executor.update_parameters(timeout_min=config.placement.slurm_time)
    else:
        executor.update_parameters(**_parameters(config, memory))
    return executor
