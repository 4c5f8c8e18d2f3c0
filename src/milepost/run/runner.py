"""Checkpoints one after the other through one live model: each is read while the one before it is scored."""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.cache import cache_folder
from milepost.errors import CheckpointError, MilepostError, ResultsError, SourceError, StorageError
from milepost.run.beforehand import Beforehand
from milepost.run.callbacks import RunCallback
from milepost.run.config import EvalConfig
from milepost.run.device import resolve_device
from milepost.run.engine_checks import connect
from milepost.run.inference import Inference
from milepost.run.journal import Journal
from milepost.run.metrics_worker import Computed, Computing, MetricsWorker
from milepost.run.outcome import Failure, Outcome
from milepost.run.planning import PlannedTasks
from milepost.run.prefetch import read_ahead
from milepost.run.progress import Progress
from milepost.run.records import log_head, note_failure, note_visit
from milepost.run.scoring import score_shards
from milepost.run.series import PlanKey, PreparedSeries
from milepost.run.software_versions import COMPUTING, versions
from milepost.run.target import Target
from milepost.run.weight_staging import Staging
from milepost.sources import Identity, fetch, identify
from milepost.sources.digests import sha256_now
from milepost.store import ResultsFolder
from milepost.store.atomic_files import is_intact, read_json
from milepost.store.leases import Leases
from milepost.store.workers import Worker
from milepost.types import Checkpoint

if TYPE_CHECKING:
    from milepost.run.first_weights import FirstWeights
    from milepost.weights import Bases, CheckpointWeights, HeldFiles, LiveModel
    from milepost.weights.formats.peft.base_model import Base

logger = logging.getLogger("milepost.run")


@dataclass(frozen=True, slots=True)
class _Read:
    """What the background found: which model it is, and what is needed to score it."""

    identity: Identity
    weights: CheckpointWeights | None = None
    """None where nothing is left to score, or they cannot be had."""
    problem: MilepostError | None = None
    """Why they cannot."""
    busy: bool = False
    """Whether another process was at it, so that its weights were not read."""


_Item = tuple[PreparedSeries, Checkpoint]


@dataclass(frozen=True, slots=True)
class _Scored:
    """A checkpoint that the run has moved on from, and what is still to be done about it."""

    checkpoint: Checkpoint
    settle: Callable[[], str]
    """Count it to where it belongs, tell who listens, and return what became of it in a few words."""
    is_ready: Callable[[], bool] = lambda: True
    """Whether that need not wait for its metrics."""


class Runner:
    """Holds the one live model while checkpoints stream through it."""

    def __init__(
        self,
        settings: EvalConfig,
        results: ResultsFolder,
        questions: dict[PlanKey, PlannedTasks],
        journal: Journal,
        outcome: Outcome,
        worker: Worker,
        listener: RunCallback,
        first_weights: FirstWeights | None = None,
    ) -> None:
        self._settings = settings
        self._results = results
        self._questions = questions
        self._journal = journal
        self._outcome = outcome
        self._worker = worker
        self._listener = listener
        self._first_weights = first_weights
        self._leases = Leases(results, worker)
        self._model: LiveModel | None = None
        self._bases: Bases | None = None
        self._tokenizer_id: str | None = None
        """Of the series that the live model belongs to."""
        self._dtype = ""
        """What the live model was asked to compute in."""
        self._inference: Inference | None = None
        self._metrics = MetricsWorker(journal, self._leases)
        self._unsettled: deque[_Scored] = deque()
        """In the order in which they are to be told of."""
        self._staging = Staging()
        self._fallback: str | None = None
        """The reason last told; known only once the engine has met real requests."""

    def run(self, work: Sequence[_Item], progress: Progress, beforehand: Beforehand) -> None:
        """Evaluate every checkpoint; one that cannot be used is noted in the outcome, and the others go on.

        Checkpoints that other processes are at come last, shard by shard. Metrics of one are computed while
        the next is scored; what is said and told of them comes in order, from this thread.

        Raises:
            ResultsError: the results folder cannot be read or written.
        """
        try:
            with self._metrics:
                left = self._pass(work, progress, beforehand, share=False)
                self._pass(left, progress, beforehand, share=True)
                self._settle(progress, wait=True)
        finally:
            self._leases.give_back_all()

    def _pass(
        self, work: Sequence[_Item], progress: Progress, beforehand: Beforehand, *, share: bool
    ) -> list[_Item]:
        """Evaluate each; unless `share`, those that others are at are returned instead."""
        left = []
        for item, reading in read_ahead(work, functools.partial(self._read, share=share)):
            series, checkpoint = item
            questions = self._questions[series.key_of(checkpoint)]
            progress.start(checkpoint, questions.plan.n_tokens)
            try:
                scored = self._evaluate(
                    series, checkpoint, questions, reading.result(), progress, beforehand, share
                )
            except (CheckpointError, SourceError) as error:
                scored = _Scored(checkpoint, functools.partial(self._refuse, checkpoint, error))
            finally:
                self._let_go(reading)
            if scored is None:
                left.append(item)
                continue
            progress.leave()
            self._unsettled.append(scored)
            self._settle(progress)
        return left

    def _let_go(self, reading: Future[_Read]) -> None:
        """Whatever came of a checkpoint, nothing of it stays on the device beside the live module."""
        if reading.exception() is None and (weights := reading.result().weights) is not None:
            self._staging.forget(weights)

    def _between_shards(self, progress: Progress) -> None:
        self._settle(progress)
        if self._model is not None and self._inference is not None:
            self._staging.look(self._model, self._inference.gpu)

    def _settle(self, progress: Progress, *, wait: bool = False) -> None:
        """Finish with the checkpoints whose metrics are there, in order; with all of them if `wait`."""
        while self._unsettled and (wait or self._unsettled[0].is_ready()):
            scored = self._unsettled.popleft()
            progress.finish(scored.checkpoint, scored.settle())

    def _read(self, item: _Item, *, share: bool) -> _Read:
        """In the background: which model this is, and its tensors where something is left to score."""
        series, checkpoint = item
        held = self._to_be_held(series, checkpoint)
        hash_file = sha256_now if held is None else held.sha256
        identity = identify(checkpoint, cache_folder(), hash_file)
        target = self._target(series, checkpoint, identity)
        if not target.has_metrics():
            target.drop_damaged()
        if not target.missing_shards():
            return _Read(identity)
        if not share and self._leases.others_at(target.unit):
            return _Read(identity, busy=True)
        if self._settings.engine == "openai":
            return _Read(identity)
        from milepost.weights import read_checkpoint

        try:
            folder = fetch(checkpoint, cache_folder(), repair=self._settings.repair)
            sums = {file.name: file.sha256 for file in identity.files}
            base = self._base_of(checkpoint)
            weights = read_checkpoint(
                folder,
                checkpoint.format,
                sums,
                config_file=checkpoint.config,
                base=base,
                merge=False,
                held=held,
            )
            if identify(checkpoint, cache_folder(), hash_file) != identity:
                raise CheckpointError(f"{checkpoint.source} changed while it was being read")
        except (CheckpointError, SourceError) as error:
            return _Read(identity, problem=error)
        self._staging.offer(weights)
        return _Read(identity, weights)

    def _to_be_held(self, series: PreparedSeries, checkpoint: Checkpoint) -> HeldFiles | None:
        """Where to keep what is read to identify a checkpoint; None if its weights are hardly needed then.

        They are not where all is scored of the model that its name stood for at the last visit.
        """
        if self._settings.engine == "openai":
            return None
        if self._first_weights is not None:
            first, self._first_weights = self._first_weights.of(checkpoint), None
            if first is not None:
                return first
        path = self._results.checkpoint_path(checkpoint.series, checkpoint.name)
        model_id = read_json(path).get("model_id") if is_intact(path) else None
        if model_id is not None:
            dtype = series.dtype_of(checkpoint, self._settings.asked_dtype)
            plan = self._questions[series.key_of(checkpoint)].plan
            if not Target(self._results, plan, model_id, dtype).missing_shards():
                return None
        from milepost.weights import HeldFiles

        return HeldFiles(pinned=self._device.startswith("cuda"))

    def _base_of(self, checkpoint: Checkpoint) -> Base | None:
        """For an adapter: the model it changes, kept from one checkpoint to the next."""
        from milepost.weights import Bases

        if checkpoint.base is None:
            return None
        self._bases = self._bases or Bases()
        return self._bases.of(checkpoint.base, cache_folder(), repair=self._settings.repair)

    def _target(self, series: PreparedSeries, checkpoint: Checkpoint, identity: Identity) -> Target:
        plan = self._questions[series.key_of(checkpoint)].plan
        dtype = series.dtype_of(checkpoint, self._settings.asked_dtype)
        return Target(self._results, plan, identity.model_id, dtype)

    def _evaluate(
        self,
        series: PreparedSeries,
        checkpoint: Checkpoint,
        questions: PlannedTasks,
        read: _Read,
        progress: Progress,
        beforehand: Beforehand,
        share: bool,
    ) -> _Scored | None:
        """See that it has scores, and begin with its metrics; None where another process is at it and we do
        not share."""
        target = self._target(series, checkpoint, read.identity)
        # Before anything else: from now on the name stands for this model, and no longer for another one.
        note_visit(self._results, checkpoint, target)
        if read.problem is not None:
            raise read.problem
        if not target.missing_shards() and target.has_metrics():
            known = Computed(target.describe_missing(), seconds=0.0)
            return _Scored(checkpoint, lambda: self._judge(checkpoint, target, known, n_shards=0))
        if not target.missing_shards() and self._settings.leaves_metrics:
            return _Scored(checkpoint, lambda: self._leave_metrics(checkpoint, n_shards=0))
        if target.missing_shards() and (read.busy or (not share and self._leases.others_at(target.unit))):
            return None
        path = self._results.log_folder(checkpoint.series, checkpoint.name) / "evaluation.log"
        with self._journal.evaluation_log(path) as log:
            log_head(log, checkpoint, target, self._settings, self._device)
            start = time.monotonic()
            n_shards = 0
            if target.missing_shards():
                n_shards = self._score(series, checkpoint, target, read, progress, beforehand, log, share)
            log.info("%d shards scored in %.1f s", n_shards, time.monotonic() - start)
        if self._settings.leaves_metrics:
            return _Scored(checkpoint, lambda: self._leave_metrics(checkpoint, n_shards))
        computing = self._metrics.compute(target, questions, path)
        return _Scored(
            checkpoint,
            lambda: self._judge_when_computed(checkpoint, target, computing, n_shards),
            computing.is_ready,
        )

    def _judge_when_computed(
        self, checkpoint: Checkpoint, target: Target, computing: Computing, n_shards: int
    ) -> str:
        try:
            computed = computing.result()
        except StorageError:
            raise  # nothing more can be stored, of no checkpoint
        except ResultsError as error:
            return self._refuse(checkpoint, error)
        except Exception:
            logger.error("metrics of %s %s:", checkpoint.series, checkpoint.name)
            raise
        return self._judge(checkpoint, target, computed, n_shards)

    def _judge(self, checkpoint: Checkpoint, target: Target, computed: Computed, n_shards: int) -> str:
        """Count a checkpoint that has metrics, tell who listens, and say so in a few words."""
        if computed.seconds:
            self._outcome.metrics_s[checkpoint] = computed.seconds
        self._listener.metrics_stored(target.plan.plan_id, checkpoint)
        if computed.lacking:
            self._fail(checkpoint, computed.lacking)
            return computed.lacking
        (self._outcome.scored if n_shards else self._outcome.reused).append(checkpoint)
        return "scored" if n_shards else "already scored"

    def _leave_metrics(self, checkpoint: Checkpoint, n_shards: int) -> str:
        """Count a checkpoint that has all its scores and whose metrics another run computes."""
        (self._outcome.scored if n_shards else self._outcome.reused).append(checkpoint)
        self._outcome.without_metrics.append(checkpoint)
        return "scored, metrics later" if n_shards else "already scored, metrics later"

    def _refuse(self, checkpoint: Checkpoint, error: MilepostError) -> str:
        """Count a checkpoint that cannot be used."""
        self._fail(checkpoint, error.one_line)
        return f"cannot be used: {error.one_line}"

    @functools.cached_property
    def _device(self) -> str:
        return resolve_device(self._settings.device)

    def _fail(self, checkpoint: Checkpoint, reason: str) -> None:
        failure = Failure(checkpoint, reason)
        self._outcome.failed.append(failure)
        note_failure(self._results, failure)

    def _score(
        self,
        series: PreparedSeries,
        checkpoint: Checkpoint,
        target: Target,
        read: _Read,
        progress: Progress,
        beforehand: Beforehand,
        log: logging.Logger,
        share: bool,
    ) -> int:
        if self._settings.engine == "openai":
            inference, n_parameters, device = connect(self._settings), None, self._settings.base_url
        else:
            model, inference = self._put_in_place(series, checkpoint, target, read, log)
            n_parameters, device = model.n_parameters, self._device
        self._worker.at(
            series=checkpoint.series,
            checkpoint=checkpoint.name,
            model_id=target.model_id,
            numerics=target.numerics,
            plan_id=target.plan.plan_id,
        )
        made = {
            "source": checkpoint.source,
            "device": device,
            "versions": versions(),
            "plan_id": target.plan.plan_id,
        }
        beforehand.measure(inference, target)
        start = time.monotonic()
        settling = _Settling(progress, functools.partial(self._between_shards, progress))
        n_shards = score_shards(target, inference, settling, self._leases, made, share)
        spent = self._outcome.scoring_s
        spent[checkpoint] = spent.get(checkpoint, 0.0) + time.monotonic() - start
        fallback = inference.fallback(target.plan)
        if fallback and fallback != self._fallback:
            self._fallback = fallback
            logger.warning("%s", fallback)
        engine = inference.name(target.plan)
        log.info("engine: %s%s", engine, f" ({fallback})" if fallback else "")
        note_visit(
            self._results,
            checkpoint,
            target,
            engine=engine,
            fallback=fallback,
            n_parameters=n_parameters,
            device=device,
            versions={name: versions()[name] for name in COMPUTING if name in versions()},
        )
        return n_shards

    def _put_in_place(
        self,
        series: PreparedSeries,
        checkpoint: Checkpoint,
        target: Target,
        read: _Read,
        log: logging.Logger,
    ) -> tuple[LiveModel, Inference]:
        if read.weights is None:
            raise CheckpointError(f"{checkpoint.name}: its scores were removed while the run was under way")
        from milepost.weights import merged

        start = time.monotonic()
        weights = merged(read.weights)  # here, because the background must not make modules
        for warning in weights.warnings:
            log.warning("%s: %s", checkpoint.name, warning)
        model, inference = self._take_in(weights, target.dtype, series)
        # The module has them; only the next checkpoint's stay in memory beside it.
        weights.tensors.clear()
        log.info("weights in place after %.2f s: %d parameters", time.monotonic() - start, model.n_parameters)
        return model, inference

    def _take_in(
        self, weights: CheckpointWeights, dtype: str, series: PreparedSeries
    ) -> tuple[LiveModel, Inference]:
        """The live model with these weights: copied in place where they fit, else a new module."""
        from milepost.weights import LiveModel

        if (
            self._model is None
            or self._inference is None
            or self._tokenizer_id != series.tokenizer_id
            or self._dtype != dtype
            or self._model.accepts(weights) is not None
        ):
            self._staging.forget(weights)
            self._model = self._inference = None  # frees the old module before the new one is made
            self._model, self._dtype = LiveModel.build(weights, dtype=dtype, device=self._device), dtype
            self._tokenizer_id = series.tokenizer_id
            self._inference = self._build_inference(self._model, series)
        else:
            self._model.copy_from(weights, self._staging.of(weights))
            self._staging.forget(weights)
        return self._model, self._inference

    def _build_inference(self, model: LiveModel, series: PreparedSeries) -> Inference:
        from milepost.engine import build_engine, build_generator

        name, budget_tokens = self._settings.engine, self._settings.batch_tokens
        assert name != "openai", "a server has its weights itself"
        plan = self._questions[series.keys[0]].plan
        engine = build_engine(
            name,
            model.module,
            vocab_size=model.vocab_size,
            budget_tokens=budget_tokens,
            trial=plan.longest_scored(),
        )
        if not plan.asks_texts:
            return Inference(engine, None)
        generator = build_generator(
            name,
            model.module,
            series.tokenizer,
            vocab_size=model.vocab_size,
            budget_tokens=budget_tokens,
        )
        return Inference(engine, generator)


@dataclass(frozen=True, slots=True)
class _Settling:
    """A `Progress` that passes everything on, and after each shard sees to the checkpoints before."""

    shown: Progress
    settle: Callable[[], None]

    def start(self, checkpoint: Checkpoint, tokens: int) -> None:
        self.shown.start(checkpoint, tokens)

    def advance(self, tokens: int) -> None:
        self.shown.advance(tokens)
        self.settle()

    def leave(self) -> None:
        self.shown.leave()

    def finish(self, checkpoint: Checkpoint, what: str) -> None:
        self.shown.finish(checkpoint, what)
