"""Score units: the work of every worker, whichever executor started it."""

from __future__ import annotations

import logging
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

from milepost.errors import CheckpointError, MilepostError, SourceError, StorageError
from milepost.run.context import ScoringContext
from milepost.run.display.journal import Journal, parse_level
from milepost.run.display.screen_messages import message_for_reader
from milepost.run.executors.messages import (
    Broken,
    Event,
    Identified,
    Joined,
    Loaded,
    MetricsOrder,
    Order,
    Refused,
    Said,
    ShardScored,
    UnitStored,
)
from milepost.run.executors.metrics_help import MetricsHelp
from milepost.run.executors.probe import PROBE
from milepost.run.executors.worker_setup import WorkerSetup
from milepost.run.records import log_head
from milepost.run.scoring.checkpoint_changes import changed
from milepost.run.scoring.job_reader import ReadJob
from milepost.run.scoring.jobs import CheckpointJob
from milepost.run.scoring.prefetch import start_reading
from milepost.run.scoring.streaming import LoadedModel, Stream
from milepost.run.software_versions import versions
from milepost.run.target import PlannedShard, plan_shards
from milepost.store import ResultsFolder
from milepost.store.leases import Leases
from milepost.store.workers import Worker
from milepost.text.language import VARIABLES, Phrase

Tell = Callable[[Event], None]


class UnitScorer:
    """Scores units one after the other; the model stays in memory between units of one checkpoint."""

    def __init__(self, context: ScoringContext, stream: Stream, leases: Leases, tell: Tell) -> None:
        self._context = context
        self._stream = stream
        self._metrics = MetricsHelp(context, leases)
        self._tell = tell
        self._plans = {tasks.plan.plan_id: tasks.plan for tasks in context.preparation.tasks.values()}
        self._at: tuple[Order, str, LoadedModel] | None = None
        """The order whose model is in memory, with the model's id."""
        self._ahead: tuple[Order, Future[ReadJob]] | None = None
        """The order of the next unit, with the job that is being read for it."""

    def score(self, order: Order) -> None:
        """Score a unit, and tell what happens; whatever goes wrong is told as well."""
        try:
            self._score(order)
        except (CheckpointError, SourceError) as error:
            self._tell(Refused(error))
        except StorageError as error:
            self._tell(Refused(error, is_full=True) if error.is_full else Broken(error))
        except MilepostError as error:
            self._tell(Broken(error))
        except Exception:
            self._tell(Broken(None, traceback.format_exc()))

    def compute_metrics(self, order: MetricsOrder) -> None:
        """Compute the metrics of a checkpoint, and tell whether they are stored."""
        self._tell(self._metrics.compute(order))

    def _score(self, order: Order) -> None:
        plan = self._plans[order.plan_id]
        places = {(task.name, shard.first): n for n, (task, shard) in enumerate(plan_shards(plan))}
        every = plan_shards(plan)
        part = tuple(every[n] for n in order.shards)
        job = CheckpointJob(
            order.checkpoint, self._context.results, plan, order.dtype, missing=part, part=part
        )
        checkpoint = order.checkpoint
        log_path = self._context.results.log_folder(checkpoint.series, checkpoint.name) / "evaluation.log"
        with ExitStack() as open_files:
            if self._at is not None and _is_same(self._at[0], order):
                _, model_id, model = self._at
                job = job.identified(model_id)
                log = open_files.enter_context(self._context.journal.evaluation_log(log_path))
                self._tell(Identified(model_id))
            else:
                self._at = None
                read = self._read(order, job)
                job = job.identified(read.job.model_id or "")
                self._tell(Identified(job.target.model_id))
                if order.model_id is not None and job.model_id != order.model_id:
                    raise changed(checkpoint)
                if read.problem is not None:
                    raise read.problem
                if not job.missing:
                    self._tell(UnitStored({}))
                    return
                log = open_files.enter_context(self._context.journal.evaluation_log(log_path))
                log_head(log, checkpoint, job.target, self._context.config, self._context.device)
                start = time.monotonic()
                model = self._stream.load(read, job, log)
                self._at = order, job.target.model_id, model
                self._tell(Loaded(time.monotonic() - start))
            self._read_ahead(order)
            noted = self._score_shards(job, model, log, places)
        self._tell(UnitStored(noted))

    def _score_shards(
        self, job: CheckpointJob, model: LoadedModel, log: logging.Logger, places: Mapping[Any, int]
    ) -> dict[str, Any]:
        begun = before = time.monotonic()

        def stored(planned: PlannedShard) -> None:
            nonlocal before
            task, shard = planned
            now = time.monotonic()
            self._tell(ShardScored(places[task.name, shard.first], now - before))
            before = now

        n_shards, noted = self._stream.score(job, model, log, stored, share=False)
        log.info("%d shards scored in %.1f s", n_shards, time.monotonic() - begun)
        return noted

    def _read(self, order: Order, job: CheckpointJob) -> ReadJob:
        """Return the weights of a unit, which may have been read meanwhile."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and _is_same(ahead[0], order):
            return ahead[1].result()
        if ahead is not None:
            self._stream.free(ahead[1])
        return self._stream.read(job, share=True)

    def _read_ahead(self, order: Order) -> None:
        """Begin to read what comes next, while this unit is scored."""
        upcoming = order.upcoming
        if upcoming is None or _is_same(upcoming, order):
            return
        plan = self._plans[upcoming.plan_id]
        job = CheckpointJob(
            upcoming.checkpoint, self._context.results, plan, upcoming.dtype, missing=plan_shards(plan)
        )
        reading = start_reading(lambda ahead: self._stream.read(ahead, share=True, verify=False), job)
        self._ahead = upcoming, reading


def _is_same(one: Order, other: Order) -> bool:
    """Return whether two units are of the same checkpoint and plan."""
    return (one.checkpoint, one.plan_id, one.dtype) == (other.checkpoint, other.plan_id, other.dtype)


@contextmanager
def unit_scorer(setup: WorkerSetup, tell: Tell, halvings: int = 0) -> Iterator[UnitScorer]:
    """Yield the scorer of this process, with its record in the results folder and its leases."""
    config = setup.config
    os.environ[VARIABLES[0]] = setup.language  # of the whole process: messages come from its threads, too
    preparation = setup.preparation()
    about = _joined(setup)
    tell(about)
    if not about.sees_results:
        raise MilepostError(Phrase("{host} does not see the results folder", host=about.host))
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(parse_level(config.verbosity), _Forwarding(tell)))
        results = ResultsFolder.create(setup.results)
        worker = stack.enter_context(Worker(results, {"command": config.command_line()}))
        leases = Leases(results, worker)
        stack.callback(leases.give_back_all)
        context = ScoringContext(config, preparation, results, journal)
        yield UnitScorer(context, Stream(context, worker, leases, halvings), leases, tell)


def _joined(setup: WorkerSetup) -> Joined:
    """Return what a worker says of itself."""
    try:
        sees_results = setup.token is None or (setup.results / PROBE).read_text("utf-8") == setup.token
    except OSError:
        sees_results = False
    described = {**versions(), "python": platform.python_version()}
    return Joined(
        platform.node(), os.getpid(), time.process_time(), tuple(sorted(described.items())), sees_results
    )


class _Forwarding(logging.Handler):
    """Sends messages to the driver, which shows them."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(Said(record.name, record.levelno, record.getMessage(), message_for_reader(record)))
