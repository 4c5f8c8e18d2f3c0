"""One `milepost run` from SOURCEs to figures: plan once, then stream the checkpoints through it.

Order of work: everything that can be wrong with the command is found before anything is written, what is
cheap to find first; then each checkpoint is identified, and read while the one before it is scored; what is
already stored is not computed. A checkpoint that cannot be used is noted and the others go on.
"""

from __future__ import annotations

import importlib
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from milepost.analysis.training import note_training
from milepost.errors import TokenizerError
from milepost.plan.plan import Plan
from milepost.run.beforehand import Beforehand
from milepost.run.callbacks import NoCallback, RunCallback
from milepost.run.config import EvalConfig
from milepost.run.device import resolve_device
from milepost.run.engine_checks import check_engine
from milepost.run.estimate import Estimating, announce, expect
from milepost.run.first_weights import read_first
from milepost.run.journal import Journal
from milepost.run.outcome import Failure, Outcome
from milepost.run.plan_folder import check_plan_fits, read_saved_plan, write_saved_plan
from milepost.run.planning import PlannedTasks, make_plan
from milepost.run.progress import show_progress
from milepost.run.quick import Stopwatch, first_middle_last, usable, whole_job
from milepost.run.records import note_failure, write_records
from milepost.run.runner import Runner
from milepost.run.series import PlanKey, PreparedSeries, prepare_series
from milepost.run.series_cache import recall_series, remember_series
from milepost.run.series_names import claim_names, name_by_source
from milepost.run.software_versions import can_compute_metrics
from milepost.run.timing import LongRunPolicy
from milepost.sources import Given, discover_all
from milepost.store import ResultsFolder
from milepost.store.cleanup import sweep
from milepost.store.folder import check_writable
from milepost.store.leases import Leases
from milepost.store.workers import Worker
from milepost.tasks.lm_eval.checks import check_tasks
from milepost.types import Series

logger = logging.getLogger("milepost.run")


def evaluate_run(
    settings: EvalConfig,
    journal: Journal,
    listener: RunCallback | None = None,
    long_run: LongRunPolicy | None = None,
) -> Outcome:
    """Do what `settings` asks; `listener` is told of each checkpoint that has figures.

    Raises:
        MilepostError: the command is wrong or no checkpoint is usable; nothing has been written then.
    """
    check_run(settings)
    with journal.timed("found the checkpoints"):
        found = find_series(settings)
    return evaluate_series(found, settings, journal, listener, long_run)


def save_run_plan(settings: EvalConfig, journal: Journal, folder: Path) -> Plan:
    """Save in `folder` the plan of what `settings` asks; no weights are read and nothing is scored.

    Raises:
        MilepostError: the command is wrong, no checkpoint is usable, or the folder cannot be written.
    """
    check_tasks(settings.tasks)
    series = _prepare(find_series(settings), settings, journal, None)
    questions = _questions_by_tokenizer(series, settings, journal, None)
    journal.say_collected()
    return write_saved_plan({one.plan.plan_id: one.plan for one in questions.values()}.values(), folder)


def check_run(settings: EvalConfig) -> None:
    """What can be told to be wrong before any checkpoint is looked for.

    Raises:
        MilepostError: the results folder cannot be written, a task is not known.
    """
    check_writable(settings.output_path)
    if settings.plan is None and can_compute_metrics():
        check_tasks(settings.tasks)


def find_series(settings: EvalConfig, sources: Sequence[str] = ()) -> tuple[Series, ...]:
    """The checkpoints that are there now, of all sources or of some.

    Raises:
        SourceError: see `sources.discover_all`.
    """
    given = Given(config=settings.config, base=settings.base)
    return discover_all(sources or settings.sources, settings.steps, given)


def evaluate_series(
    found: Sequence[Series],
    settings: EvalConfig,
    journal: Journal,
    listener: RunCallback | None = None,
    long_run: LongRunPolicy | None = None,
) -> Outcome:
    """Do what `settings` asks of these checkpoints only. Raises as `evaluate_run`."""
    began = time.monotonic()
    as_found = found
    everything = found = name_by_source(settings.output_path, as_found)
    found = [first_middle_last(one) for one in everything] if settings.quick else everything
    if settings.device != "auto":
        resolve_device(settings.device)
    saved = None if settings.plan is None else read_saved_plan(settings.plan)
    series = _prepare(found, settings, journal, saved)
    first_weights = read_first(series, settings) if "milepost.weights" in sys.modules else None
    questions = _questions_by_tokenizer(series, settings, journal, saved)
    journal.say_collected()
    work = [(one, checkpoint) for one in series for checkpoint in one.checkpoints]
    plans = [one.plan for one in questions.values()]
    check_engine(settings, [checkpoint for _, checkpoint in work], plans)
    results = ResultsFolder.create(settings.output_path)
    if not claim_names(
        results, as_found, everything
    ):  # another process has just begun with a series of that name
        return evaluate_series(as_found, settings, journal, listener, long_run)
    outcome = Outcome(results)
    for one in series:
        outcome.failed += [Failure(checkpoint, reason) for checkpoint, reason in one.refused]
    expected = {
        checkpoint: expect(results.path, one, checkpoint, questions[one.key_of(checkpoint)].plan, settings)
        for one, checkpoint in work
    }
    device = None
    if not all(one.is_done for one in expected.values()):
        _import_weights(journal)
        device = resolve_device(settings.device)
    try:
        with Worker(results, {"command": settings.command_line()}) as worker:
            sweep(results)
            write_records(results, _by_plan(series, questions), settings, device)
            for failure in outcome.failed:
                note_failure(results, failure)
            told = listener or NoCallback()
            told.begin(results, Leases(results, worker))
            runner = Runner(settings, results, questions, journal, outcome, worker, told, first_weights)
            announce(expected.values(), results.path)
            left = {checkpoint: one.n_tokens for checkpoint, one in expected.items()}
            try:
                with show_progress(len(work), sum(left.values())) as progress:
                    watch = Stopwatch(Estimating(progress, left, compiles=device not in (None, "cpu")))
                    before_s = time.monotonic() - began
                    caller = long_run or LongRunPolicy()
                    in_all = sum(left.values()) * (1 + caller.models_after)
                    beforehand = Beforehand(in_all, ask=caller.ask, aside=progress.aside)
                    runner.run(work, watch, beforehand)
            finally:
                told.end()
    except KeyboardInterrupt:
        logger.warning("interrupted; what is scored is kept, and the same command goes on from there")
        raise
    if not settings.leaves_metrics:
        note_training(results.path)
    if settings.quick:
        asked = [one.plan for one in expected.values()]
        outcome.full_job = whole_job(settings, outcome, asked, watch, before_s, usable(everything))
    return outcome


def _prepare(
    found: Sequence[Series], settings: EvalConfig, journal: Journal, saved: PlannedTasks | None
) -> list[PreparedSeries]:
    plan = None if saved is None else saved.plan
    with journal.timed("looked at configs and tokenizers"):
        known = [recall_series(one, settings) for one in found]
    if not all(known):
        _import_weights(journal)
    prepared = []
    with journal.timed("read those that an earlier run had not"):
        for one, recalled in zip(found, known, strict=True):
            prepared.append(recalled or prepare_series(one, settings, plan))
            if recalled is None and plan is None:
                remember_series(one, settings, prepared[-1])
    return prepared


def _import_weights(journal: Journal) -> None:
    """Torch and transformers, early and on the main thread, so that the journal takes their loggers over."""
    if "milepost.weights" not in sys.modules:
        with journal.timed("imported torch and transformers"):
            importlib.import_module("milepost.weights")


def _questions_by_tokenizer(
    series: Sequence[PreparedSeries], settings: EvalConfig, journal: Journal, saved: PlannedTasks | None
) -> dict[PlanKey, PlannedTasks]:
    questions: dict[PlanKey, PlannedTasks] = {}
    for one in series:
        if saved is not None:
            check_plan_fits(saved.plan, one)
        first: PlannedTasks | None = None
        for key in one.keys:
            if saved is not None:
                questions[key] = saved
            elif key not in questions:
                if first is not None and not first.plan.asks_texts:
                    questions[key] = first  # they differ in how texts are written, and none is asked for
                    continue
                questions[key] = make_plan(
                    settings.tasks,
                    one.load_tokenizer,
                    one.tokenizer_id,
                    one.max_length,
                    shard_tokens=settings.shard_tokens,
                    reuse=not settings.fresh_plan,
                    journal=journal,
                    defaults=key[-1],
                )
                if first is None:
                    _warn_of_truncation(questions[key])
            first = first or questions[key]
        assert first is not None, "a series has a checkpoint"
        _check_vocabulary(one, first.plan)
    return questions


def _check_vocabulary(series: PreparedSeries, plan: Plan) -> None:
    largest = max((int(task.encoded.sequences.tokens.max(initial=0)) for task in plan.tasks), default=0)
    if largest >= series.vocab_size:
        raise TokenizerError(
            f"{series.name}: the tokenizer gives token id {largest}, the model has {series.vocab_size} rows",
            "if tokens were added in training, save the model after resize_token_embeddings (an adapter with "
            "save_embedding_layers=True); else pass its own tokenizer: --tokenizer PATH",
        )


def _warn_of_truncation(questions: PlannedTasks) -> None:
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
    series: Sequence[PreparedSeries], questions: dict[PlanKey, PlannedTasks]
) -> dict[str, tuple[Plan, dict[str, list[str]]]]:
    """Plan id to the plan and, by series, the names of the checkpoints that it is for.

    One that cannot be used is with the first of its series.
    """
    grouped: dict[str, tuple[Plan, dict[str, list[str]]]] = {}
    for one in series:
        for checkpoint in one.asked:
            key = one.key_of(checkpoint) if checkpoint in one.generations else one.keys[0]
            plan = questions[key].plan
            _, names = grouped.setdefault(plan.plan_id, (plan, {}))
            names.setdefault(one.name, []).append(checkpoint.name)
    return grouped
