"""The plan of one tokenizer: taken from the cache when nothing it depends on has changed, else built.

A plan depends on the versions of lm_eval and datasets, the text of every task file it uses, the settings,
the tokenizer, the context length, and the state of the data (a Hub commit, a hash of local files).
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from milepost.cache import cache_folder, write_cache_file
from milepost.errors import MilepostError, StorageError, TaskError, TokenizerError
from milepost.plan.encode import encode
from milepost.plan.long_text import cut_text
from milepost.plan.plan import Plan, TaskPlan
from milepost.plan.plan_files import load_plan, save_plan
from milepost.plan.string_encoder import StringEncoder
from milepost.run.journal import Journal
from milepost.run.software_versions import can_compute_metrics, versions
from milepost.run.time_limit import time_limit
from milepost.store.layout import docs_name
from milepost.store.tables import write_table
from milepost.tasks.question_source import ModelTraits, QuestionSet, TaskRequests
from milepost.tasks.registry import check_settings, digest_of, load_sources, source_named
from milepost.tasks.settings import TaskSettings
from milepost.types import GenerationDefaults

MOST_CHAT_SECONDS = 10.0
"""Of a chat template for one prompt; usual ones take a millisecond."""
PLAN_FORMAT = 10

logger = logging.getLogger("milepost.run")


class PlannedTasks:
    """The plan, and its sources' tasks for counting answers; a cached plan loads them when needed."""

    def __init__(
        self,
        plan: Plan,
        settings: TaskSettings,
        models: ModelTraits,
        loaded: Mapping[str, QuestionSet] | None = None,
    ) -> None:
        self.plan = plan
        self.settings = settings
        """What the plan was made of."""
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
    settings: TaskSettings,
    load_tokenizer: Callable[[], Any],
    tokenizer_id: str,
    max_length: int,
    *,
    shard_tokens: int,
    reuse: bool,
    journal: Journal,
    defaults: GenerationDefaults | None = None,
) -> PlannedTasks:
    """The plan for one tokenizer and context length.

    Args:
        load_tokenizer: called only where the plan has to be built.
        defaults: what the models' own files say of generated texts; without effect where none is asked for.

    Raises:
        TaskError, TokenizerError: see `tasks.registry.load_sources` and `plan.encode.encode`.
    """
    defaults = defaults or GenerationDefaults()
    asked = [PLAN_FORMAT, _plain_settings(settings), tokenizer_id, max_length, shard_tokens, asdict(defaults)]
    models = ModelTraits(
        load_tokenizer=load_tokenizer,
        tokenizer_id=tokenizer_id,
        max_length=max_length,
        defaults=defaults,
        chat_template=lambda *given, **options: _render_chat(load_tokenizer(), *given, **options),
    )
    if not can_compute_metrics():
        return PlannedTasks(_newest_saved(asked), settings, models)
    if reuse:
        with journal.timed("looked for a plan of an earlier run"):
            key = _key(asked, check_settings(settings))
            plan = _from_cache(cache_folder() / "plans" / key)
        if plan is not None:
            logger.info("plan %s taken from the cache: %d requests", plan.plan_id[:8], plan.n_requests)
            _note_newest(asked, key)
            return PlannedTasks(plan, settings, models)
    plan, loaded, data = _build(settings, models, shard_tokens, journal)
    journal.say_collected()
    if data is not None:
        key = _key(asked, digest_of(loaded.values()))
        _to_cache(plan, data, cache_folder() / "plans" / key)
        _note_newest(asked, key)
    return PlannedTasks(plan, settings, models, loaded)


def _build(
    settings: TaskSettings, models: ModelTraits, shard_tokens: int, journal: Journal
) -> tuple[Plan, dict[str, QuestionSet], list[dict[str, Any]] | None]:
    tokenizer = models.load_tokenizer()
    with journal.timed("loaded tasks and data"):
        loaded = load_sources(settings, models)
    with journal.timed("built requests and tokenised them, once for all checkpoints"):
        encoder = StringEncoder(tokenizer)
        tasks = [
            _task_plan(asked, encoder, models, settings.limit, shard_tokens)
            for source in loaded.values()
            for asked in source.requests()
        ]
    _tell_unscorable(tasks)
    described = [source.describe() for source in loaded.values()]
    configs = [description.configs for description in described]
    plan = Plan(
        tasks=tuple(tasks),
        tokenizer_id=models.tokenizer_id,
        max_length=models.max_length,
        settings={
            "asked": _plain_settings(settings),
            "versions": versions(),
            "counting": {
                part: _joined(description.counting[part] for description in described)
                for part in ("tasks", "groups")
            },
            "configs": configs[0] if len(configs) == 1 else configs,
            "tasks": _joined(description.tasks for description in described),
            "tokenizer": _special_tokens(tokenizer),
            "generation_defaults": json.loads(json.dumps(asdict(models.defaults))),
        },
    )
    logger.info(
        "plan %s: %d requests of %d tasks, %d tokens",
        plan.plan_id[:8],
        plan.n_requests,
        len(tasks),
        plan.n_tokens,
    )
    return plan, loaded, _data_used(loaded)


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
    return {name: value for part in parts for name, value in part.items()}


def _tell_unscorable(tasks: list[TaskPlan]) -> None:
    """Warn of tasks that will have no figures, as some of their requests cannot be scored.

    Raises:
        TaskError: no task would have any.
    """
    faults = {task.name: task.encoded.unscorable for task in tasks if task.encoded.unscorable}
    if faults and len(faults) == len(tasks):
        first = next(iter(faults.values()))
        raise TaskError(
            f"{first[0]} ({len(first)} such requests; lm_eval stops at the first)",
            "check the task's doc_to_target or doc_to_choice, or leave it out",
        )
    for name, lines in faults.items():
        logger.warning(
            "%s (%d such requests); %s will have no figures, as lm_eval stops there",
            lines[0],
            len(lines),
            name,
        )


def _task_plan(
    asked: TaskRequests,
    encoder: StringEncoder,
    models: ModelTraits,
    limit: float | None,
    shard_tokens: int,
) -> TaskPlan:
    first = asked.requests[0]
    if first.windows is not None:
        text = cut_text(asked.task, first, encoder, models.max_length, limit)
        return TaskPlan.build(asked.task, text.requests, text.docs, text.encoded, shard_tokens)
    encoded = encode(asked.task, asked.requests, encoder, models.max_length)
    docs = {name: [getattr(doc, name) for doc in asked.docs] for name in asked.docs[0].__slots__}
    return TaskPlan.build(
        asked.task,
        asked.requests,
        docs,
        encoded,
        shard_tokens,
        asked.offers,
        models.tokenizer_id,
        task_generations=asked.task_generations,
    )


def _special_tokens(tokenizer: Any) -> dict[str, list[str | None]]:
    """Name and id of the tokens that lm_eval's result files name."""
    return {
        kind: [getattr(tokenizer, f"{kind}_token", None), str(getattr(tokenizer, f"{kind}_token_id", None))]
        for kind in ("pad", "eos", "bos")
    }


def _endless_chat() -> TokenizerError:
    return TokenizerError(
        f"the model's chat template takes more than {MOST_CHAT_SECONDS:.0f} s for one prompt",
        "leave out --apply-chat-template, or pass --tokenizer PATH with a sound one",
    )


def _render_chat(tokenizer: Any, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    """As lm_eval's `HFLM.apply_chat_template`: a template that refuses a system role gets none.

    Raises:
        TokenizerError: the template takes longer than any does.
    """
    import jinja2

    def render(history: list[dict[str, str]]) -> str:
        with time_limit(MOST_CHAT_SECONDS, _endless_chat):
            text: str = tokenizer.apply_chat_template(
                history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        return text

    try:
        return render(messages)
    except jinja2.exceptions.TemplateError:
        logger.warning("the chat template refuses a system message; it is left out")
        return render([message for message in messages if message["role"] != "system"])


def _plain_settings(settings: TaskSettings) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings), default=str))
    return plain


def _note_newest(asked: list[Any], key: str) -> None:
    """Remember which plan was made last for what is asked, for `_newest_saved`."""
    note = _newest_note(asked)
    if not note.is_file() or note.read_text("utf-8") != key:
        write_cache_file(note, key.encode())


def _newest_saved(asked: list[Any]) -> Plan:
    """The plan of an earlier run for the same questions, where lm_eval is missing and none can be made.

    Whether task files or data have changed since cannot be told without lm_eval.

    Raises:
        MilepostError: there is none.
    """
    try:
        return load_plan(cache_folder() / "plans" / _newest_note(asked).read_text("utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise MilepostError(
            "lm_eval is not installed here, and no plan of these questions is saved",
            "make it where lm_eval is (`milepost run ... --save-plan FOLDER`) and pass --plan FOLDER here",
        ) from error


def _newest_note(asked: list[Any]) -> Path:
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "plans" / f"{digest[:32]}.newest"


def _key(asked: list[Any], files_digest: str) -> str:
    relevant = {k: v for k, v in versions().items() if k in ("lm_eval", "datasets", "tokenizers")}
    digest = hashlib.sha256()
    digest.update(json.dumps([relevant, *asked, files_digest], sort_keys=True).encode())
    return digest.hexdigest()[:32]


def _from_cache(folder: Path) -> Plan | None:
    try:
        used = json.loads((folder / "data.json").read_text("utf-8"))
        if not all(_is_current(ref) for ref in used):
            logger.info("the data has changed since the plan was made")
            return None
        return load_plan(folder)
    except (OSError, ValueError, KeyError):
        return None  # none there, or damaged: it is made again


def _is_current(ref: dict[str, Any]) -> bool:
    known = {key: value for key, value in ref.items() if key not in ("source", "state")}
    return bool(source_named(ref["source"]).data_state(known) == ref["state"])


def write_docs(task: TaskPlan, path: Path) -> None:
    """As the record of them that a results folder keeps, so that each folder is given a copy."""
    write_table(path, task.docs.table(), name=docs_name(task.docs_id))


def _to_cache(plan: Plan, data: list[dict[str, Any]], folder: Path) -> None:
    try:
        save_plan(plan, folder, write_docs)
        (folder / "data.json").write_text(json.dumps(data), "utf-8")
    except (OSError, StorageError) as error:
        logger.info("the plan is not kept for later runs: %s", error)
        shutil.rmtree(folder, ignore_errors=True)
