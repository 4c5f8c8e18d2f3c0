"""Stream checkpoints through the one live model: read the next one's weights while one is scored.

This is what every worker does, whichever executor started it, and what a run in one process does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from milepost.run.context import ScoringContext
from milepost.run.scoring.checkpoint_changes import scores_removed
from milepost.run.scoring.engine_checks import connect
from milepost.run.scoring.inference import Inference
from milepost.run.scoring.job_reader import JobReader, ReadJob
from milepost.run.scoring.jobs import CheckpointJob
from milepost.run.scoring.model_slot import ModelSlot
from milepost.run.scoring.peak_memory import peak_memory
from milepost.run.scoring.shard_scoring import score_shards
from milepost.run.software_versions import COMPUTING, versions
from milepost.run.target import PlannedShard
from milepost.store.leases import Leases
from milepost.store.workers import Worker

logger = logging.getLogger("milepost.run")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint's model, ready to score."""

    inference: Inference
    n_parameters: int | None
    """None where a server has the model."""
    device: str | None


class Stream:
    """Leads checkpoints through the one live model of this process."""

    def __init__(self, context: ScoringContext, worker: Worker, leases: Leases, halvings: int = 0) -> None:
        """Make a stream.

        Args:
            worker: the record of this process in the results folder.
            halvings: how often the tokens of a forward pass are halved, after workers that died.
        """
        self._context = context
        self._worker = worker
        self._leases = leases
        self._reader = JobReader(context, leases)
        self._slot = ModelSlot(context.config, halvings)
        self._fallback: str | None = None
        """The reason shown last; it is known only once the engine has met real requests."""

    def read(self, job: CheckpointJob, *, share: bool, verify: bool = True) -> ReadJob:
        """Read a job in the background. Arguments and errors as of `JobReader.read`."""
        read = self._reader.read(job, share=share, verify=verify)
        if read.weights is not None:
            self._slot.offer(read.weights)
        return read

    def free(self, reading: Future[ReadJob]) -> None:
        """Free the device of a checkpoint's weights, except those that the live module has."""
        if reading.exception() is None and (weights := reading.result().weights) is not None:
            self._slot.forget(weights)

    def load(self, read: ReadJob, job: CheckpointJob, log: logging.Logger) -> LoadedModel:
        """Put the weights that were read into the live model, or connect to the server that has them.

        Raises:
            CheckpointError: the weights do not fit their config.
        """
        config = self._context.config
        if config.engine == "openai":
            return LoadedModel(connect(config), None, config.base_url)
        if read.weights is None:
            raise scores_removed(job.checkpoint)
        from milepost.weights import merged

        start = time.monotonic()
        weights = merged(read.weights)  # here, because the background must not make modules
        for warning in weights.warnings:
            log.warning("%s: %s", job.checkpoint.name, warning)
        preparation = self._context.preparation
        series = preparation.series_of(job.checkpoint)
        first_plan = preparation.tasks[series.keys[0]].plan
        inference, n_parameters = self._slot.load(
            weights, job.dtype, self._context.device, series, first_plan
        )
        log.info("weights in place after %.2f s: %d parameters", time.monotonic() - start, n_parameters)
        return LoadedModel(inference, n_parameters, self._context.device)

    def score(
        self,
        job: CheckpointJob,
        model: LoadedModel,
        log: logging.Logger,
        stored: Callable[[PlannedShard], None],
        *,
        share: bool,
    ) -> tuple[int, dict[str, Any]]:
        """Score the missing shards of a job.

        Args:
            stored: called with each shard that this process scored.
            share: see `scoring.score_shards`.

        Returns:
            The number of shards that this process scored, and what the checkpoint's record says of them.
        """
        target, inference = job.target, model.inference
        self._worker.at(
            series=job.checkpoint.series,
            checkpoint=job.checkpoint.name,
            model_id=target.model_id,
            numerics=target.numerics,
            plan_id=job.plan.plan_id,
        )
        made = {
            "source": job.checkpoint.source,
            "device": model.device,
            "versions": versions(),
            "plan_id": job.plan.plan_id,
        }

        def advance(planned: PlannedShard) -> None:
            stored(planned)
            self._slot.stage_next()

        n_shards = score_shards(job, inference, self._leases, made, advance, share)
        engine, fallback = inference.name(job.plan), inference.fallback(job.plan)
        self._say_fallback(fallback)
        log.info("engine: %s%s", engine, f" ({fallback})" if fallback else "")
        return n_shards, {
            "engine": engine,
            "fallback": fallback,
            "n_parameters": model.n_parameters,
            "device": model.device,
            **peak_memory(self._context.device if model.n_parameters is not None else None),
            "versions": {name: versions()[name] for name in COMPUTING if name in versions()},
        }

    def _say_fallback(self, fallback: str | None) -> None:
        if fallback and fallback != self._fallback:
            self._fallback = fallback
            logger.warning("%s", fallback)
