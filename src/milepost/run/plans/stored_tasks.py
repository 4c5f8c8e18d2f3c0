"""Load the tasks of a plan that was read from records, to compute metrics in another process than its own."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from milepost.errors import TaskError
from milepost.plan.plan import Plan
from milepost.run.plans.planning import PlannedTasks
from milepost.run.plans.prompt_tokens import run_tokenizer
from milepost.store import ResultsFolder
from milepost.store.tables import read_table
from milepost.tasks.question_source import ModelTraits
from milepost.tasks.registry import load_sources, source_of
from milepost.tasks.settings import TaskSettings
from milepost.text.language import Phrase


def load_stored_tasks(
    results: ResultsFolder, plan: Plan, series: str, include_path: Path | None, allow_task_code: bool
) -> PlannedTasks:
    """Load the tasks of a plan.

    Raises:
        TaskError: tasks, data or the source's version differ from those of the plan.
    """
    stored = TaskSettings.from_json(plan.settings["asked"])
    settings = replace(
        stored, include_path=include_path or stored.include_path, allow_task_code=allow_task_code
    )
    models = ModelTraits(
        load_tokenizer=lambda: run_tokenizer(results.path, series)[0],
        tokenizer_id=plan.tokenizer_id,
        max_length=plan.max_length,
    )
    loaded = load_sources(settings, models)
    hashes = {
        task.name: functools.partial(_doc_hashes, results, task.docs_id)
        for task in plan.tasks
        if not _is_cut(plan, task.name)
    }
    counting = plan.settings["counting"]
    for name, tasks in loaded.items():
        own = {task: how for task, how in counting["tasks"].items() if source_of(how) == name}
        if (what := tasks.find_difference({**counting, "tasks": own}, hashes)) is not None:
            raise TaskError(
                Phrase("{name} has other {what} here than when the scores were made", name=name, what=what),
                Phrase(
                    "compute the metrics with the {name}, data and task files that the plan was made with",
                    name=name,
                ),
            )
    return PlannedTasks(plan, settings, models, loaded)


def _doc_hashes(results: ResultsFolder, docs_id: str) -> list[str]:
    hashes: list[str] = read_table(results.docs_path(docs_id), ["doc_hash"])["doc_hash"].to_pylist()
    return hashes


def _is_cut(plan: Plan, task: str) -> bool:
    """Return whether a task's docs are windows of a text, which only a tokenizer can cut."""
    return bool(plan.settings["tasks"].get(task, {}).get("output_type") == "loglikelihood_rolling")
