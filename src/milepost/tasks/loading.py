"""Task names to lm_eval's own task objects, with their data.

What lm_eval does in `simple_evaluate` between parsing its arguments and building requests, in the same
order: seeds, task objects (few-shot pools included), the few-shot override, the few-shot seed.
Source: lm_eval/evaluator.py (0.4.13), lines 190-360.
"""

from __future__ import annotations

import logging
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.api.group
import lm_eval.api.task
import lm_eval.tasks
import lm_eval.utils
import numpy as np
from lm_eval.tasks._index import Entry, Kind

from milepost.errors import TaskError
from milepost.tasks.catalog import Catalog, load_catalog, parse_yaml, resolve_names
from milepost.tasks.files import files_of, merged_key, with_includes
from milepost.tasks.settings import TaskSettings
from milepost.tasks.shortcuts import compiled_yaml

SUPPORTED = ("multiple_choice", "loglikelihood", "loglikelihood_rolling")

logger = logging.getLogger("milepost.tasks")


@dataclass(frozen=True, slots=True)
class LoadedTasks:
    """lm_eval's objects for one evaluation; tasks in the order lm_eval runs them."""

    settings: TaskSettings
    tasks: dict[str, lm_eval.api.task.Task]
    groups: dict[str, lm_eval.api.group.Group]

    def parents_of(self, name: str) -> tuple[str, ...]:
        """The groups that `name` stands in, outermost first."""
        for group in self.groups.values():
            if name in group.child_names:
                return (*self.parents_of(group.name), group.name)
        return ()


def load_tasks(settings: TaskSettings) -> LoadedTasks:
    """Build the task objects that `settings` names; downloads data that is not cached.

    Raises:
        TaskError: an unknown name, YAML that does not parse or would run code without leave, a task type
            that cannot be scored yet, data that cannot be had.
    """
    catalog = load_catalog(settings.include_path)
    names = resolve_names(list(settings.names), catalog)
    _check_before_loading(names, catalog, settings)
    _seed(settings)
    manager = _manager(catalog)
    loaded = _load(manager, names)
    tasks, groups = loaded["tasks"], loaded.get("groups", {})
    for name, task in tasks.items():
        if task.OUTPUT_TYPE not in SUPPORTED:
            raise _not_yet(name, task.OUTPUT_TYPE)
        _set_fewshot(name, task, settings)
    if settings.samples is not None:
        _check_samples(settings, tasks)
    return LoadedTasks(settings, tasks, groups)


def _manager(catalog: Catalog) -> lm_eval.tasks.TaskManager:
    manager = lm_eval.tasks.TaskManager(include_defaults=False)
    manager._index = {
        entry.name: Entry(
            name=entry.name,
            kind=Kind[entry.kind],
            yaml_path=Path(entry.path) if entry.path else None,
            tags=set(entry.tags),
        )
        for entry in catalog.values()
    }
    return manager


def _load(manager: lm_eval.tasks.TaskManager, names: list[str]) -> dict[str, Any]:
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        with compiled_yaml():
            loaded: dict[str, Any] = dict(manager.load(names))
    except (OfflineModeIsEnabled, ConnectionError, HfHubHTTPError, DatasetNotFoundError, OSError) as error:
        raise _no_data(error) from error
    except ValueError as error:
        if "Duplicate task" in str(error):
            raise TaskError(str(error), "name the group or the task, not both") from error
        if "Couldn't find cache" in str(error) or "BuilderConfig" in str(error):
            raise _no_data(error) from error
        raise
    return loaded


def _no_data(error: BaseException) -> TaskError:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if any(os.environ.get(name, "").upper() in ("1", "TRUE", "YES", "ON") for name in _OFFLINE):
        hint = "offline mode is on (HF_HUB_OFFLINE); run once online, or set HF_HOME to a cache with the data"
    else:
        hint = f"the Hub is taken to be at {endpoint}; set HF_ENDPOINT to a mirror, or use a cache offline"
    return TaskError(f"cannot get a task's data from {endpoint}: {_first_line(error)}", hint)


_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_before_loading(names: list[str], catalog: Catalog, settings: TaskSettings) -> None:
    """What the YAML alone tells, before any data is fetched."""
    own = settings.include_path.resolve() if settings.include_path else None
    for path in files_of(names, catalog):
        if own and path.resolve().is_relative_to(own):
            _check_own_yaml(path, settings)
        output_type = merged_key(path, "output_type")
        if output_type == "generate_until":
            raise _not_yet(str(merged_key(path, "task")), output_type)


def _check_own_yaml(path: Path, settings: TaskSettings) -> None:
    for file in with_includes(path):
        parse_yaml(file)
        if settings.allow_task_code:
            continue
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
            if "!function" in line and not line.lstrip().startswith("#"):
                raise TaskError(
                    f"{file}, line {number}: `!function` would run Python code from this folder",
                    "read that code, then pass --allow-task-code if you trust it",
                )


def _not_yet(name: str, output_type: str | None) -> TaskError:
    return TaskError(
        f"task {name} is of type {output_type}, which Milepost cannot score yet",
        "leave it out; multiple_choice, loglikelihood and loglikelihood_rolling tasks work",
    )


def _seed(settings: TaskSettings) -> None:
    if settings.seeds.python is not None:
        random.seed(settings.seeds.python)
    if settings.seeds.numpy is not None:
        np.random.seed(settings.seeds.numpy)
    if settings.seeds.torch is not None:
        lm_eval.utils.set_torch_seed(settings.seeds.torch)


def _set_fewshot(name: str, task: lm_eval.api.task.Task, settings: TaskSettings) -> None:
    default = task.get_config("num_fewshot")
    if settings.num_fewshot is None:
        if default is None:
            task.set_config(key="num_fewshot", value=0)
    elif default == 0:
        logger.warning("%s is always asked 0-shot (its own file says so)", name)
    else:
        task.set_config(key="num_fewshot", value=settings.num_fewshot)
    task.set_fewshot_seed(seed=settings.seeds.fewshot)


def _check_samples(settings: TaskSettings, tasks: dict[str, lm_eval.api.task.Task]) -> None:
    for name, ids in settings.samples or ():
        if name not in tasks:
            raise TaskError(f"--samples names {name}, which is not among the tasks", "name leaf tasks")
        n = len(tasks[name].eval_docs)
        if any(not 0 <= i < n for i in ids):
            raise TaskError(f"--samples for {name}: doc ids go from 0 to {n - 1}", None)
