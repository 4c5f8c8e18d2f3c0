"""Load lm_eval's task objects, with their data.

The steps of lm_eval's `simple_evaluate` before it builds requests, in the same order: seeds, task objects
(few-shot pools included), the few-shot override, the few-shot seed.
Source: lm_eval/evaluator.py (0.4.13), lines 190-360.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lm_eval.api.group
import lm_eval.api.metrics
import lm_eval.api.task
import lm_eval.tasks
import lm_eval.utils
import numpy as np
from lm_eval.tasks._factory import _ctor_accepts_config
from lm_eval.tasks._index import Entry, Kind
from lm_eval.tasks._yaml_loader import load_yaml

from milepost.errors import MissingDataError, NothingLeftError, TaskError
from milepost.tasks.lm_eval.catalog import Catalog
from milepost.tasks.lm_eval.checks import SUPPORTED, CheckedTasks, check_tasks, not_yet
from milepost.tasks.lm_eval.data_downloads import counted_downloads
from milepost.tasks.lm_eval.data_state import cache_if_hub_is_down
from milepost.tasks.lm_eval.fewshot import accept_fewshot_fields
from milepost.tasks.lm_eval.function_tags import with_code
from milepost.tasks.lm_eval.generation import parse_gen_kwargs
from milepost.tasks.lm_eval.left_out import leave_out
from milepost.tasks.lm_eval.local_data import PACKAGED
from milepost.tasks.lm_eval.registry_checks import check_registered
from milepost.tasks.lm_eval.shadows import check_shadows
from milepost.tasks.lm_eval.shortcuts import compiled_templates, compiled_yaml, plain_output
from milepost.tasks.lm_eval.squad import load_metric, uses_squad
from milepost.tasks.lm_eval.task_factory import CheckedFactory
from milepost.tasks.settings import TaskSettings
from milepost.text.language import Phrase

logger = logging.getLogger("milepost.tasks")


@dataclass(frozen=True, slots=True)
class LoadedTasks:
    """lm_eval's objects for one evaluation; tasks in lm_eval's order."""

    settings: TaskSettings
    tasks: dict[str, lm_eval.api.task.Task]
    groups: dict[str, lm_eval.api.group.Group]
    files_digest: str = ""
    """`CheckedTasks.digest` of the task files."""
    kept_docs: dict[str, list[tuple[int, Any]]] = field(default_factory=dict, repr=False, compare=False)
    """The cache of `docs.docs_of`, by task."""
    kept_chances: dict[str, Mapping[str, float]] = field(default_factory=dict, repr=False, compare=False)
    """The cache of `chance.chance_levels`, by task."""

    def parents_of(self, name: str) -> tuple[str, ...]:
        """Return the groups that contain `name`, outermost first."""
        for group in self.groups.values():
            if name in group.child_names:
                return (*self.parents_of(group.name), group.name)
        return ()


def load_tasks(settings: TaskSettings) -> LoadedTasks:
    """Build the task objects that `settings` names; downloads data that is not cached.

    Tasks without data are left out where `settings` say so, with a warning; see `leave_out`.

    Raises:
        TaskError: an unknown name, YAML that does not parse or would run code that the user does not allow, a
            task type that cannot be scored yet, missing data.
        NothingLeftError: the data of all tasks are missing, where those without data are left out.
    """
    checked = check_tasks(settings)
    try:
        return _load_checked(checked, settings)
    except MissingDataError as error:
        without = leave_out(checked, error.task)
        if not settings.skip_missing_data or without.names == checked.names:
            raise
        if not without.names:
            raise NothingLeftError.of(error) from error
        logger.warning("left out: %s (%s)", ", ".join(without.dropped), error.message)
        if without.groups:
            logger.warning("no mean without it: %s", ", ".join(without.groups))
        return load_tasks(replace(settings, names=without.names))


def _load_checked(checked: CheckedTasks, settings: TaskSettings) -> LoadedTasks:
    check_registered(checked, settings)
    check_shadows(checked)
    _refuse_unscorable_classes(checked)
    _seed(settings)
    manager = task_manager(checked.catalog, dict(settings.metadata))
    manager._factory = CheckedFactory(checked, settings)
    with compiled_templates(settings):
        loaded = _load(manager, list(checked.names), _hub_data(checked))
    tasks, groups = loaded["tasks"], loaded.get("groups", {})
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False) and not settings.allow_task_code:
            raise TaskError(
                Phrase("task {name} runs the code that the model writes on this machine", name=name),
                "leave it out, or pass --allow-task-code on a machine where that does no harm",
            )
        if task.OUTPUT_TYPE not in SUPPORTED:
            raise not_yet(name, task.OUTPUT_TYPE)
        _set_fewshot(name, task, settings)
        _set_generation(task, settings)
        accept_fewshot_fields(task)
    if uses_squad(tasks.values()):
        load_metric()
    if settings.samples is not None:
        _check_samples(settings, tasks)
    return LoadedTasks(settings, tasks, groups, checked.digest)


def task_manager(catalog: Catalog, metadata: dict[str, Any] | None = None) -> lm_eval.tasks.TaskManager:
    manager = lm_eval.tasks.TaskManager(include_defaults=False, metadata=metadata)
    manager._index = _Index(catalog)
    return manager


class _Index(dict[str, Entry]):
    """lm_eval's index of a catalog; makes an entry on its first use, as a run uses few of 14,000."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__()
        self._catalog = catalog

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._catalog

    def __missing__(self, name: str) -> Entry:
        entry = self._catalog[name]
        self[name] = Entry(
            name=entry.name,
            kind=Kind[entry.kind],
            yaml_path=Path(entry.path) if entry.path else None,
            tags=set(entry.tags),
        )
        return self[name]

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default


def _load(manager: lm_eval.tasks.TaskManager, names: list[str], data: Iterator[str]) -> dict[str, Any]:
    factory = manager._factory
    try:
        with (
            cache_if_hub_is_down(data),
            compiled_yaml(),
            plain_output(),
            counted_downloads(),
            factory.installed(),
        ):
            loaded: dict[str, Any] = dict(manager.load(names))
    except ValueError as error:
        if "Duplicate task" in str(error):
            raise TaskError(str(error), "name the group or the task, not both") from error
        raise
    return loaded


def _hub_data(checked: CheckedTasks) -> Iterator[str]:
    """Yield the repositories that the tasks' YAML names for their data."""
    for config in checked.configs.values():
        source = config.content.get("dataset_path")
        if isinstance(source, str) and source not in PACKAGED and not Path(source).exists():
            yield source


def _refuse_unscorable_classes(checked: CheckedTasks) -> None:
    """Refuse tasks written in Python whose type cannot be scored, before their data is downloaded."""
    own = {config.path for _, config in checked.own()}
    for path, config in checked.configs.items():
        if "class" in config.content:
            content = with_code(dict(config.content)) if config.path in own else load_yaml(path)
            output_type = _type_of(content)
            if output_type not in SUPPORTED:
                raise not_yet(str(config.content.get("task")), output_type)


def _type_of(config: dict[str, Any]) -> str | None:
    cls: Any = config["class"]

    class KnownError(Exception):
        pass

    class WithoutData(cls):
        def download(self, *_: object, **__: object) -> None:
            raise KnownError(self.OUTPUT_TYPE)

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the same warnings come again when the task is built with its data
    try:
        WithoutData(config=config) if _ctor_accepts_config(cls) else WithoutData()
    except KnownError as known:
        return str(known.args[0])
    finally:
        logging.disable(before)
    output_type: str | None = cls.OUTPUT_TYPE
    return output_type


def _seed(settings: TaskSettings) -> None:
    if settings.seeds.python is not None:
        random.seed(settings.seeds.python)
    if settings.seeds.numpy is not None:
        np.random.seed(settings.seeds.numpy)
    if settings.seeds.torch is not None:
        lm_eval.utils.set_torch_seed(settings.seeds.torch)


def _set_fewshot(name: str, task: lm_eval.api.task.Task, settings: TaskSettings) -> None:
    default, wanted = task.get_config("num_fewshot"), settings.num_fewshot_of(name)
    if wanted is None:
        if default is None:
            task.set_config(key="num_fewshot", value=0)
    elif default == 0 and wanted != 0:
        logger.warning("%s is always 0-shot (its own file says so)", name)
    else:
        task.set_config(key="num_fewshot", value=wanted)
    task.set_fewshot_seed(seed=settings.seeds.fewshot)


def _set_generation(task: lm_eval.api.task.Task, settings: TaskSettings) -> None:
    if settings.gen_kwargs and task.get_config("output_type") == "generate_until":
        task.set_config(
            key="generation_kwargs",
            value={**(task.get_config("generation_kwargs") or {}), **parse_gen_kwargs(settings.gen_kwargs)},
        )


def _check_samples(settings: TaskSettings, tasks: dict[str, lm_eval.api.task.Task]) -> None:
    for name, ids in settings.samples or ():
        if name not in tasks:
            raise TaskError(
                Phrase("--samples names {name}, which is not among the tasks", name=name),
                "name tasks, not groups: " + ", ".join(list(tasks)[:5]),
            )
        n = len(tasks[name].eval_docs)
        if not ids or any(not 0 <= i < n for i in ids):
            fault = "selects no docs" if not ids else f"has no doc {next(i for i in ids if not 0 <= i < n)}"
            raise TaskError(
                Phrase("--samples: {name} {fault}", name=name, fault=fault),
                Phrase("its doc ids go from 0 to {value}", value=n - 1),
            )
