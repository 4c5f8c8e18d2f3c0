"""One `milepost run` from SOURCEs to figures: plan once, then stream the checkpoints through it.

Order of work: everything that can be wrong with the command is found before anything is written; then each
checkpoint is identified, and read while the one before it is scored; what is already stored is not computed.
A checkpoint that cannot be used is noted and the others go on.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from milepost.cache import cache_folder
from milepost.errors import CheckpointError, TokenizerError
from milepost.plan.plan import Plan
from milepost.run.journal import Journal
from milepost.run.planning import Questions, make_questions, versions
from milepost.run.progress import Progress, show_progress
from milepost.run.reading import read_ahead
from milepost.run.scoring import Target, score_shards, write_figures, write_plan_record
from milepost.run.series import PreparedSeries, prepare_series
from milepost.run.settings import RunSettings, resolve_device
from milepost.sources import Identity, discover_all, fetch, identify
from milepost.store import ResultsFolder
from milepost.store.files import write_json
from milepost.store.folder import check_writable
from milepost.types import Checkpoint

if TYPE_CHECKING:
    from milepost.engine import Engine
    from milepost.weights import CheckpointWeights, LiveModel

logger = logging.getLogger("milepost.run")


@dataclass(frozen=True, slots=True)
class Failure:
    """A checkpoint without figures, and why."""

    checkpoint: Checkpoint
    reason: str


@dataclass(slots=True)
class Outcome:
    """What a run did."""

    results: ResultsFolder
    scored: list[Checkpoint] = field(default_factory=list)
    reused: list[Checkpoint] = field(default_factory=list)
    """Complete before the run began, or the same weights as another checkpoint."""
    failed: list[Failure] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        return 1 if self.failed else 0


@dataclass(frozen=True, slots=True)
class _Read:
    identity: Identity
    weights: CheckpointWeights | None
    """None where nothing is left to score."""


def evaluate_run(settings: RunSettings, journal: Journal) -> Outcome:
    """Do what `settings` asks.

    Raises:
        MilepostError: the command is wrong or no checkpoint is usable; nothing has been written then.
    """
    device = resolve_device(settings.device)
    check_writable(settings.output_path)
    found = discover_all(settings.sources, settings.steps)
    series = [prepare_series(one, settings) for one in found]
    questions = _questions_by_tokenizer(series, settings, journal)
    results = ResultsFolder.create(settings.output_path)
    outcome = Outcome(results)
    for one in series:
        outcome.failed += [Failure(checkpoint, reason) for checkpoint, reason in one.refused]
    work = [(one, checkpoint) for one in series for checkpoint in one.checkpoints]
    for plan_id, group in _by_plan(series, questions).items():
        write_plan_record(results, questions[group[0].key].plan)
        results.write_run(
            {
                "plan_id": plan_id,
                "series": [one.name for one in group],
                "sources": list(settings.sources),
                "dtype": settings.dtype,
                "device": device,
                "versions": versions(),
            }
        )
    runner = _Runner(settings, device, results, questions, journal, outcome)
    tokens_each = max((q.plan.n_tokens for q in questions.values()), default=0)
    with show_progress(len(work), tokens_each) as progress:
        runner.run(work, progress)
    for failure in outcome.failed:
        _note_failure(results, failure)
    return outcome


class _Runner:
    """Holds the one live model while checkpoints stream through it."""

    def __init__(
        self,
        settings: RunSettings,
        device: str,
        results: ResultsFolder,
        questions: dict[tuple[str, int], Questions],
        journal: Journal,
        outcome: Outcome,
    ) -> None:
        self._settings = settings
        self._device = device
        self._results = results
        self._questions = questions
        self._journal = journal
        self._outcome = outcome
        self._model: LiveModel | None = None
        self._engine: Engine | None = None
        self._fallback: str | None = None
        """The reason last told; known only once the engine has met real requests."""

    def run(self, work: Sequence[tuple[PreparedSeries, Checkpoint]], progress: Progress) -> None:
        for (series, checkpoint), reading in read_ahead(work, self._read):
            questions = self._questions[series.key]
            progress.start(checkpoint, questions.plan.n_tokens)
            try:
                said = self._evaluate(series, checkpoint, questions, reading.result(), progress)
            except CheckpointError as error:
                self._outcome.failed.append(Failure(checkpoint, error.message))
                said = f"cannot be used: {error.message}"
            progress.finish(checkpoint, said)

    def _read(self, item: tuple[PreparedSeries, Checkpoint]) -> _Read:
        """In the background: which model this is, and its tensors where something is left to score."""
        from milepost.weights import read_checkpoint

        series, checkpoint = item
        identity = identify(checkpoint, cache_folder())
        target = self._target(series, identity)
        if not target.missing_shards():
            return _Read(identity, None)
        weights = read_checkpoint(fetch(checkpoint, cache_folder()), checkpoint.format)
        if identify(checkpoint, cache_folder()) != identity:
            raise CheckpointError(f"{checkpoint.source} changed while it was being read")
        return _Read(identity, weights)

    def _target(self, series: PreparedSeries, identity: Identity) -> Target:
        plan = self._questions[series.key].plan
        dtype = self._settings.dtype if self._settings.dtype != "auto" else series.dtype
        return Target(self._results, plan, identity.model_id, dtype)

    def _evaluate(
        self,
        series: PreparedSeries,
        checkpoint: Checkpoint,
        questions: Questions,
        read: _Read,
        progress: Progress,
    ) -> str:
        target = self._target(series, read.identity)
        if not target.missing_shards() and target.has_metrics():
            self._note_visit(checkpoint, target, {})
            self._outcome.reused.append(checkpoint)
            return "already scored"
        path = self._results.log_folder(checkpoint.series, checkpoint.name) / "evaluation.log"
        with self._journal.evaluation_log(path) as log:
            _log_head(log, checkpoint, target, self._settings, self._device)
            for warning in self._journal.warnings:
                log.warning("%s", warning)
            start = time.monotonic()
            details: dict[str, Any] = {}
            n_shards = 0
            if target.missing_shards():
                n_shards = self._score(checkpoint, target, read, progress, log, details)
            missing = write_figures(target, questions)
            self._journal.say_collected()
            self._note_visit(checkpoint, target, details)
            log.info("done: %d shards scored in %.1f s", n_shards, time.monotonic() - start)
            if missing:
                named = ", ".join(f"{task} ({n})" for task, n in missing.items())
                reason = f"the model gave NaN for some requests; no figures for {named}"
                log.error("%s", reason)
                self._outcome.failed.append(Failure(checkpoint, reason))
                return reason
        (self._outcome.scored if n_shards else self._outcome.reused).append(checkpoint)
        return "scored" if n_shards else "same weights as scored before"

    def _score(
        self,
        checkpoint: Checkpoint,
        target: Target,
        read: _Read,
        progress: Progress,
        log: logging.Logger,
        details: dict[str, Any],
    ) -> int:
        if read.weights is None:
            raise CheckpointError(f"{checkpoint.name}: its scores were removed while the run was under way")
        for warning in read.weights.warnings:
            log.warning("%s: %s", checkpoint.name, warning)
        start = time.monotonic()
        model, engine = self._take_in(read.weights)
        read.weights.tensors.clear()  # the module has them; only the next checkpoint's stay in memory beside it
        log.info("weights in place after %.2f s: %d parameters", time.monotonic() - start, model.n_parameters)
        n_shards = score_shards(target, engine, progress)
        if engine.fallback and engine.fallback != self._fallback:
            self._fallback = engine.fallback
            logger.warning("%s", engine.fallback)
        log.info("engine: %s%s", engine.name, f" ({engine.fallback})" if engine.fallback else "")
        details.update(
            engine=engine.name, fallback=engine.fallback, n_parameters=model.n_parameters, device=self._device
        )
        return n_shards

    def _take_in(self, weights: CheckpointWeights) -> tuple[LiveModel, Engine]:
        """The live model with these weights: copied in place where they fit, else a new module."""
        from milepost.engine import build_engine
        from milepost.weights import LiveModel

        if self._model is None or self._engine is None or self._model.accepts(weights) is not None:
            self._model = self._engine = None  # frees the old module before the new one is made
            self._model = LiveModel.build(weights, dtype=self._settings.dtype, device=self._device)
            self._engine = build_engine(
                self._settings.engine,
                self._model.module,
                vocab_size=self._model.vocab_size,
                budget_tokens=self._settings.batch_tokens,
            )
        else:
            self._model.copy_from(weights)
        return self._model, self._engine

    def _note_visit(self, checkpoint: Checkpoint, target: Target, details: dict[str, Any]) -> None:
        path = self._results.checkpoint_path(checkpoint.series, checkpoint.name)
        record = {
            "series": checkpoint.series,
            "checkpoint": checkpoint.name,
            "step": checkpoint.step,
            "source": checkpoint.source,
            "format": checkpoint.format,
            "model_id": target.model_id,
            "numerics": target.numerics,
            **details,
        }
        write_json(path, record)


def _questions_by_tokenizer(
    series: Sequence[PreparedSeries], settings: RunSettings, journal: Journal
) -> dict[tuple[str, int], Questions]:
    questions: dict[tuple[str, int], Questions] = {}
    for one in series:
        if one.key not in questions:
            questions[one.key] = make_questions(
                settings.tasks,
                one.tokenizer,
                one.tokenizer_id,
                one.max_length,
                shard_tokens=settings.shard_tokens,
                reuse=settings.reuse_plan,
                journal=journal,
            )
            _warn_of_truncation(questions[one.key])
        _check_vocabulary(one, questions[one.key].plan)
    return questions


def _check_vocabulary(series: PreparedSeries, plan: Plan) -> None:
    largest = max((int(task.encoded.sequences.tokens.max(initial=0)) for task in plan.tasks), default=0)
    if largest >= series.vocab_size:
        raise TokenizerError(
            f"{series.name}: the tokenizer gives token id {largest}, the model knows {series.vocab_size}",
            "pass the tokenizer the model was trained with: --tokenizer PATH",
        )


def _warn_of_truncation(questions: Questions) -> None:
    for task in questions.plan.tasks:
        if task.encoded.n_truncated:
            logger.warning(
                "%s: %d of %d requests are longer than the model's %d tokens and are cut from the left",
                task.name,
                task.encoded.n_truncated,
                task.encoded.n_requests,
                questions.plan.max_length,
            )


def _by_plan(
    series: Sequence[PreparedSeries], questions: dict[tuple[str, int], Questions]
) -> dict[str, list[PreparedSeries]]:
    grouped: dict[str, list[PreparedSeries]] = {}
    for one in series:
        grouped.setdefault(questions[one.key].plan.plan_id, []).append(one)
    return grouped


def _log_head(
    log: logging.Logger, checkpoint: Checkpoint, target: Target, settings: RunSettings, device: str
) -> None:
    log.info("checkpoint %s of %s: %s", checkpoint.name, checkpoint.series, checkpoint.source)
    log.info("model %s, plan %s, numerics %s", target.model_id, target.plan.plan_id, target.numerics)
    log.info("device %s, dtype %s, engine asked for %s", device, settings.dtype, settings.engine)
    asked = target.plan.settings["asked"]
    log.info("asked: %s", ", ".join(f"{key}={value}" for key, value in asked.items() if value is not None))
    log.info("versions: %s", ", ".join(f"{name} {version}" for name, version in versions().items()))
    log.info("python %s on %s", platform.python_version(), platform.platform())


def _note_failure(results: ResultsFolder, failure: Failure) -> None:
    """Keep the reason where the checkpoint's other files are; a record of earlier figures stays as it is."""
    checkpoint = failure.checkpoint
    path = results.log_folder(checkpoint.series, checkpoint.name) / "evaluation.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} ERROR {failure.reason}\n")
