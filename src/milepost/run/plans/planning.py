"""Make the plan of one tokenizer, or take it from the cache where nothing it depends on has changed."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from milepost.errors import TaskError
from milepost.plan.encode import encode
from milepost.plan.long_text import cut_text
from milepost.plan.piecewise_bpe import encoder_of
from milepost.plan.plan import Plan, TaskPlan
from milepost.plan.string_encoder import StringEncoder
from milepost.run.display.journal import Journal
from milepost.run.plans.plan_cache import PlanCache
from milepost.run.series.chat import render_chat
from milepost.run.software_versions import can_compute_metrics, versions
from milepost.tasks.question_source import ModelTraits, QuestionSet, TaskRequests
from milepost.tasks.registry import check_settings, digest_of, load_sources
from milepost.tasks.settings import TaskSettings
from milepost.text.language import Phrase
from milepost.types.generation import GenerationDefaults

PLAN_FORMAT = 10

logger = logging.getLogger("milepost.run")


class PlannedTasks:
    """A plan, and its sources' tasks for computing metrics; a cached plan loads them when needed."""

    def __init__(
        self,
        plan: Plan,
        settings: TaskSettings,
        models: ModelTraits,
        loaded: Mapping[str, QuestionSet] | None = None,
    ) -> None:
        self.plan = plan
        self.settings = settings
        """The settings that the plan was made with."""
        self._models = models
        self._loaded = loaded

    def loaded(self) -> Mapping[str, QuestionSet]:
        """Return the tasks of each source, by its name."""
        if self._loaded is None:
            self._loaded = load_sources(self.settings, self._models)
        return self._loaded

    def with_tokenizer(self, load_tokenizer: Callable[[], Any]) -> PlannedTasks:
        """Return the same plan for models whose tokenizer `load_tokenizer` returns."""
        return PlannedTasks(self.plan, self.settings, replace(self._models, load_tokenizer=load_tokenizer))

    def needs_main_thread(self) -> bool:
        """Return whether a source cannot compute its metrics in another thread."""
        return any(tasks.needs_main_thread() for tasks in self.loaded().values())


def make_plan(
    settings: TaskSettings, models: ModelTraits, journal: Journal, *, shard_tokens: int, reuse: bool = True
) -> PlannedTasks:
    """Make the plan for models with one tokenizer and context length, or take it from the cache.

    Args:
        models: its tokenizer is loaded only where the plan is built; `chat_template` and `encoder_of` are set
            here.
        shard_tokens: tokens per shard.
        reuse: whether a plan in the cache will do.

    Raises:
        TaskError, TokenizerError: see `tasks.registry.load_sources` and `plan.encode.encode`.
        MilepostError: lm_eval is not installed, and the cache has no such plan.
    """
    cache = PlanCache(
        PLAN_FORMAT,
        as_json(settings),
        models.tokenizer_id,
        models.max_length,
        shard_tokens,
        as_json(models.defaults),
    )
    models = replace(
        models,
        chat_template=lambda *given, **named: render_chat(models.load_tokenizer(), *given, **named),
        encoder_of=encoder_of,
    )
    planned = functools.partial(PlannedTasks, settings=settings, models=models)
    if not can_compute_metrics():
        return planned(cache.newest())
    if reuse:
        with journal.timed(Phrase("looking for a plan of an earlier run")):
            plan = cache.read(check_settings(settings))
        if plan is not None:
            logger.info("plan %s taken from the cache: %d requests", plan.plan_id[:8], plan.n_requests)
            return planned(plan)
    plan, loaded = _build(settings, models, shard_tokens, journal)
    journal.say_collected()
    if (data := _data_used(loaded)) is not None:
        cache.write(plan, data, digest_of(loaded.values()))
    return planned(plan, loaded=loaded)


def _build(
    settings: TaskSettings, models: ModelTraits, shard_tokens: int, journal: Journal
) -> tuple[Plan, dict[str, QuestionSet]]:
    """Build requests and tokenize them; returns the plan, and the tasks of each source."""
    tokenizer = models.load_tokenizer()
    with journal.timed(Phrase("loading tasks and data")):
        loaded = load_sources(settings, models)
    with journal.timed(Phrase("building requests and tokenising them, once for all checkpoints")):
        encoder = StringEncoder(tokenizer)
        tasks = [
            _plan_task(task, encoder, models, settings.limit, shard_tokens)
            for source in loaded.values()
            for task in source.requests()
        ]
    if not tasks:
        raise TaskError(
            "no task is left: the data of all are missing",
            "the warnings above say where they would come from; without --skip-missing-data the first one"
            " ends the run",
        )
    _warn_of_unscorable(tasks)
    described = [source.describe() for source in loaded.values()]
    configs = [description.configs for description in described]
    plan = Plan(
        tasks=tuple(tasks),
        tokenizer_id=models.tokenizer_id,
        max_length=models.max_length,
        settings={
            "asked": as_json(settings),
            "versions": versions(),
            "counting": {
                part: _joined(description.counting[part] for description in described)
                for part in ("tasks", "groups")
            },
            "configs": configs[0] if len(configs) == 1 else configs,
            "tasks": _joined(description.tasks for description in described),
            "tokenizer": _special_tokens(tokenizer),
            "generation_defaults": as_json(models.defaults),
        },
    )
    logger.info(
        "plan %s: %d requests of %d tasks, %d tokens",
        plan.plan_id[:8],
        plan.n_requests,
        len(tasks),
        plan.n_tokens,
    )
    return plan, loaded


def _data_used(loaded: Mapping[str, QuestionSet]) -> list[dict[str, Any]] | None:
    """Return the data behind a plan, each with its source; None where the state of some is unknown."""
    used = []
    for name, source in loaded.items():
        data = source.data_used()
        if data is None:
            return None
        used += [{**ref, "source": name} for ref in data]
    return used


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what several sources say of their tasks, by task.

    Raises:
        TaskError: two sources have a task of one name.
    """
    joined: dict[str, Any] = {}
    for part in parts:
        if twice := joined.keys() & part.keys():
            raise TaskError(
                Phrase("two question sources have a task named {name!r}", name=min(twice)),
                "give your own task another name, or leave one of them out",
            )
        joined |= part
    return joined


def _warn_of_unscorable(tasks: list[TaskPlan]) -> None:
    """Warn of tasks without metrics, because some of their requests cannot be scored.

    Raises:
        TaskError: no task would have metrics.
    """
    faults = {task.name: task.encoded.unscorable for task in tasks if task.encoded.unscorable}
    if faults and len(faults) == len(tasks):
        first = next(iter(faults.values()))
        raise TaskError(
            Phrase(
                "{value} ({n_first} such requests; lm_eval stops at the first)",
                value=first[0],
                n_first=len(first),
            ),
            "check the task's doc_to_target or doc_to_choice, or leave it out",
        )
    for name, lines in faults.items():
        logger.warning(
            "%s (%d such requests); %s will have no metrics, as lm_eval stops there",
            lines[0],
            len(lines),
            name,
        )


def _plan_task(
    task: TaskRequests, encoder: StringEncoder, models: ModelTraits, limit: float | None, shard_tokens: int
) -> TaskPlan:
    first = task.requests[0]
    if first.windows is not None:
        text = cut_text(task.task, first, encoder, models.max_length, limit)
        return TaskPlan.build(task.task, text.requests, text.docs, text.encoded, shard_tokens)
    return TaskPlan.build(
        task.task,
        task.requests,
        {name: [getattr(doc, name) for doc in task.docs] for name in task.docs[0].__slots__},
        encode(task.task, task.requests, encoder, models.max_length),
        shard_tokens,
        task.offers,
        models.tokenizer_id,
        task_generations=task.task_generations,
    )


def _special_tokens(tokenizer: Any) -> dict[str, list[str | None]]:
    """Return name and id of the tokens that lm_eval's result files name."""
    return {
        kind: [getattr(tokenizer, f"{kind}_token", None), str(getattr(tokenizer, f"{kind}_token_id", None))]
        for kind in ("pad", "eos", "bos")
    }


def as_json(value: TaskSettings | GenerationDefaults) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON has them: lists for tuples, text for paths."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(value), default=str))
    return plain
