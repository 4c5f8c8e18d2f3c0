"""The plan of one tokenizer: taken from the cache when nothing it depends on has changed, else built.

A plan depends on the versions of lm_eval and datasets, the text of every task file it uses, the settings,
the tokenizer, the context length, and the state of the data (a Hub commit, a hash of local files).
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from milepost.store.folder import docs_name
from milepost.store.tables import write_table
from milepost.tasks.settings import TaskSettings
from milepost.types import Generation, GenerationDefaults

if TYPE_CHECKING:
    from milepost.tasks.lm_eval.requests import TaskRequests

MOST_CHAT_SECONDS = 10.0
"""Of a chat template for one prompt; usual ones take a millisecond."""
PLAN_FORMAT = 10

logger = logging.getLogger("milepost.run")


class PlannedTasks:
    """The plan, and lm_eval's task objects for counting answers; a cached plan loads them when needed."""

    def __init__(self, plan: Plan, settings: TaskSettings, loaded: Any | None) -> None:
        self.plan = plan
        self.settings = settings
        """What the plan was made of."""
        self._loaded = loaded

    def loaded(self) -> Any:
        """`tasks.lm_eval.loading.LoadedTasks`, to be given to `compute_metrics`."""
        if self._loaded is None:
            from milepost.tasks.lm_eval.loading import load_tasks

            self._loaded = load_tasks(self.settings)
        return self._loaded

    def need_main_thread(self) -> bool:
        """Whether code that tasks bring along keeps their metrics from being computed in another thread."""
        from milepost.tasks.lm_eval.main_thread import needs_main_thread

        return needs_main_thread(self.loaded())


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
        TaskError, TokenizerError: see `tasks.lm_eval.loading.load_tasks` and `plan.encode.encode`.
    """
    defaults = defaults or GenerationDefaults()
    asked = [PLAN_FORMAT, _plain_settings(settings), tokenizer_id, max_length, shard_tokens, asdict(defaults)]
    if not can_compute_metrics():
        return PlannedTasks(_newest_saved(asked), settings, None)
    if reuse:
        from milepost.tasks.lm_eval.checks import check_tasks

        with journal.timed("looked for a plan of an earlier run"):
            key = _key(asked, check_tasks(settings).digest)
            plan = _from_cache(cache_folder() / "plans" / key)
        if plan is not None:
            logger.info("plan %s taken from the cache: %d requests", plan.plan_id[:8], plan.n_requests)
            _note_newest(asked, key)
            return PlannedTasks(plan, settings, None)
    plan, loaded, data = _build(
        settings, load_tokenizer(), tokenizer_id, max_length, shard_tokens, journal, defaults
    )
    journal.say_collected()
    if data is not None:
        key = _key(asked, loaded.files_digest)
        _to_cache(plan, data, cache_folder() / "plans" / key)
        _note_newest(asked, key)
    return PlannedTasks(plan, settings, loaded)


def _build(
    settings: TaskSettings,
    tokenizer: Any,
    tokenizer_id: str,
    max_length: int,
    shard_tokens: int,
    journal: Journal,
    defaults: GenerationDefaults,
) -> tuple[Plan, Any, list[dict[str, Any]] | None]:
    with journal.timed("imported lm_eval"):
        from milepost.tasks.lm_eval.describe import (
            data_used,
            describe_counting,
            describe_tasks,
            digest_of_configs,
        )
        from milepost.tasks.lm_eval.generation import with_defaults
        from milepost.tasks.lm_eval.loading import load_tasks
        from milepost.tasks.lm_eval.requests import build_requests

    with journal.timed("loaded tasks and data"):
        loaded = load_tasks(settings)
    chat = functools.partial(_render_chat, tokenizer)
    tasks = []
    with journal.timed("built requests and tokenised them, once for all checkpoints"):
        encoder = StringEncoder(tokenizer)
        for asked in build_requests(loaded, chat):
            requests = [
                replace(one, generation=with_defaults(one.generation, defaults, tokenizer.eos_token))
                if one.generation
                else one
                for one in asked.requests
            ]
            task_generations = [one.generation for one in asked.requests]
            asked = replace(asked, requests=requests)
            tasks.append(
                _task_plan(
                    asked, task_generations, encoder, max_length, settings.limit, shard_tokens, tokenizer_id
                )
            )
    _tell_unscorable(tasks)
    plan = Plan(
        tasks=tuple(tasks),
        tokenizer_id=tokenizer_id,
        max_length=max_length,
        settings={
            "asked": _plain_settings(settings),
            "versions": versions(),
            "counting": describe_counting(loaded),
            "configs": digest_of_configs(loaded),
            "tasks": describe_tasks(loaded),
            "tokenizer": _special_tokens(tokenizer),
            "generation_defaults": json.loads(json.dumps(asdict(defaults))),
        },
    )
    logger.info(
        "plan %s: %d requests of %d tasks, %d tokens",
        plan.plan_id[:8],
        plan.n_requests,
        len(tasks),
        plan.n_tokens,
    )
    return plan, loaded, data_used(loaded)


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
    task_generations: list[Generation | None],
    encoder: StringEncoder,
    max_length: int,
    limit: float | None,
    shard_tokens: int,
    tokenizer_id: str,
) -> TaskPlan:
    first = asked.requests[0]
    if first.windows is not None:
        text = cut_text(asked.task, first, encoder, max_length, limit)
        return TaskPlan.build(asked.task, text.requests, text.docs, text.encoded, shard_tokens)
    encoded = encode(asked.task, asked.requests, encoder, max_length)
    docs = {name: [getattr(doc, name) for doc in asked.docs] for name in asked.docs[0].__slots__}
    return TaskPlan.build(
        asked.task,
        asked.requests,
        docs,
        encoded,
        shard_tokens,
        asked.offers,
        tokenizer_id,
        task_generations=task_generations,
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
    from milepost.tasks.lm_eval.data import data_state

    try:
        used = json.loads((folder / "data.json").read_text("utf-8"))
        if any(data_state(ref) != ref["state"] for ref in used):
            logger.info("the data has changed since the plan was made")
            return None
        return load_plan(folder)
    except (OSError, ValueError, KeyError):
        return None  # none there, or damaged: it is made again


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
