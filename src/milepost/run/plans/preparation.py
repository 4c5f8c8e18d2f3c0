"""Prepare a run before anything is written: what its series share, and the plan of each."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from milepost.errors import TokenizerError
from milepost.plan.plan import Plan
from milepost.run.config import EvalConfig
from milepost.run.display.journal import Journal
from milepost.run.plans.first_weights import FirstWeights, read_first
from milepost.run.plans.plan_fit import check_plan_fits
from milepost.run.plans.plan_folder import read_saved_plan
from milepost.run.plans.planning import PlannedTasks, make_plan
from milepost.run.series.prepared_series import PlanKey, PreparedSeries, prepare_series
from milepost.run.series.series_cache import recall_series, remember_series
from milepost.text.language import Phrase
from milepost.types.checkpoints import Checkpoint, Series

logger = logging.getLogger("milepost.run")


@dataclass(frozen=True)
class Preparation:
    """The series of a run and the tasks to score them on."""

    series: Sequence[PreparedSeries]
    tasks: Mapping[PlanKey, PlannedTasks]
    first_weights: FirstWeights | None
    """The first checkpoint's weights, read while the plan was made; None where they are not needed yet."""

    @property
    def plans(self) -> list[Plan]:
        return [tasks.plan for tasks in self.tasks.values()]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Every usable checkpoint, in order."""
        return [checkpoint for series in self.series for checkpoint in series.checkpoints]

    def series_of(self, checkpoint: Checkpoint) -> PreparedSeries:
        return self._by_name[checkpoint.series]

    def tasks_of(self, checkpoint: Checkpoint) -> PlannedTasks:
        return self.tasks[self.series_of(checkpoint).key_of(checkpoint)]

    @cached_property
    def _by_name(self) -> dict[str, PreparedSeries]:
        return {series.name: series for series in self.series}

    def by_plan(self) -> dict[str, tuple[Plan, dict[str, list[str]]]]:
        """Return, by plan id, the plan and the names of its checkpoints by series.

        A checkpoint that cannot be used is listed with the first of its series.
        """
        grouped: dict[str, tuple[Plan, dict[str, list[str]]]] = {}
        for series in self.series:
            for checkpoint in series.every_checkpoint:
                is_usable = checkpoint in series.generations
                key = series.key_of(checkpoint) if is_usable else series.keys[0]
                plan = self.tasks[key].plan
                _, names = grouped.setdefault(plan.plan_id, (plan, {}))
                names.setdefault(series.name, []).append(checkpoint.name)
        return grouped


def prepare(
    found: Sequence[Series], config: EvalConfig, journal: Journal, *, reads_weights: bool = True
) -> Preparation:
    """Read configs and tokenizers, and take the plans from the cache or make them.

    Args:
        reads_weights: whether to read the first checkpoint's weights meanwhile.

    Raises:
        MilepostError: no checkpoint is usable, or the tasks, tokenizer or saved plan are wrong.
    """
    saved = None if config.plan is None else read_saved_plan(config.plan)
    series = _prepare_series(found, config, journal, saved)
    # Where torch is not imported, an earlier run has read everything: its weights are hardly needed.
    reads_now = reads_weights and "milepost.weights" in sys.modules
    first_weights = read_first(series, config) if reads_now else None
    tasks = _plan_tasks(series, config, journal, saved)
    journal.say_collected()
    return Preparation(series, tasks, first_weights)


def import_weights(journal: Journal) -> None:
    """Import torch and transformers on the main thread, so that the journal takes their loggers over."""
    if "milepost.weights" not in sys.modules:
        with journal.timed(Phrase("importing torch and transformers")):
            importlib.import_module("milepost.weights")


def _prepare_series(
    found: Sequence[Series], config: EvalConfig, journal: Journal, saved: PlannedTasks | None
) -> list[PreparedSeries]:
    plan = None if saved is None else saved.plan
    with journal.timed(Phrase("looking at configs and tokenizers")):
        recalled = [recall_series(series, config) for series in found]
    if not all(recalled):
        import_weights(journal)
    prepared = []
    with journal.timed(Phrase("reading new configs and tokenizers")):
        for series, known in zip(found, recalled, strict=True):
            prepared.append(known or prepare_series(series, config, plan))
            if known is None and plan is None:
                remember_series(series, config, prepared[-1])
    return prepared


def _plan_tasks(
    prepared: Sequence[PreparedSeries], config: EvalConfig, journal: Journal, saved: PlannedTasks | None
) -> dict[PlanKey, PlannedTasks]:
    tasks: dict[PlanKey, PlannedTasks] = {}
    for series in prepared:
        if saved is None:
            _plan_series(series, tasks, config, journal)
        else:
            check_plan_fits(saved.plan, series)
            saved = saved if tasks else saved.with_tokenizer(series.load_tokenizer)
            tasks |= dict.fromkeys(series.keys, saved)
        _check_vocabulary(series, tasks[series.keys[0]].plan)
    return tasks


def _plan_series(
    series: PreparedSeries, tasks: dict[PlanKey, PlannedTasks], config: EvalConfig, journal: Journal
) -> None:
    """Add the plans of a series to `tasks`."""
    first: PlannedTasks | None = None
    for key in series.keys:
        if key not in tasks and first is not None and not first.plan.generates_text:
            tasks[key] = first  # the keys differ in how texts end, and the tasks generate none
        elif key not in tasks:
            tasks[key] = make_plan(
                config.tasks,
                series.traits(key),
                journal,
                shard_tokens=config.shard_tokens,
                reuse=not config.fresh_plan,
            )
            if first is None:
                _warn_of_truncation(tasks[key].plan)
        first = first or tasks[key]


def _check_vocabulary(series: PreparedSeries, plan: Plan) -> None:
    largest = max((int(task.encoded.sequences.tokens.max(initial=0)) for task in plan.tasks), default=0)
    if largest >= series.vocab_size:
        raise TokenizerError(
            Phrase(
                "{name}: the tokenizer gives token id {largest}, the model has {vocab_size} rows",
                name=series.name,
                largest=largest,
                vocab_size=series.vocab_size,
            ),
            "if tokens were added in training, save the model after resize_token_embeddings (an adapter with "
            "save_embedding_layers=True); else pass its own tokenizer: --tokenizer PATH",
        )


def _warn_of_truncation(plan: Plan) -> None:
    for task in plan.tasks:
        if task.encoded.n_truncated:
            logger.warning(
                "%s: %d of %d requests are longer than the model's %d tokens and are cut from the left",
                task.name,
                task.encoded.n_truncated,
                task.encoded.n_requests,
                plan.max_length,
            )
