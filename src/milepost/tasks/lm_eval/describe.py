"""Describe loaded tasks as JSON, to name a plan and for readers without lm_eval."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import lm_eval.api.task
from lm_eval.utils import handle_non_serializable

from milepost.tasks.lm_eval.code_digest import digest_of_code
from milepost.tasks.lm_eval.data_state import data_ref, data_state
from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.tasks.lm_eval.perplexity.text_task import TextTask
from milepost.tasks.lm_eval.task_factory import data_key


def describe_counting(loaded: LoadedTasks) -> dict[str, Any]:
    """Return everything besides prompts that decides a metric: versions, metrics, filters, group weights."""
    return {
        "tasks": {name: _counting(task) for name, task in loaded.tasks.items()},
        "groups": {name: _plain(_without_source(group.to_dict())) for name, group in loaded.groups.items()},
    }


def digest_of_configs(loaded: LoadedTasks) -> str:
    """Return a hash of everything that lm_eval's result files and tables show of tasks and groups."""
    shown = {
        "tasks": {name: [_shown(task), len(task.eval_docs)] for name, task in loaded.tasks.items()},
        "groups": {name: _without_source(group.to_dict()) for name, group in loaded.groups.items()},
        "described": describe_tasks(loaded),
    }
    text = json.dumps(shown, sort_keys=True, default=_as_text)
    return hashlib.sha256(_ADDRESS.sub("", text).encode()).hexdigest()[:16]


_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""The memory address in the text of a Python object."""


def _as_text(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _shown(task: lm_eval.api.task.Task) -> dict[str, Any]:
    """Return the task's config without the paths of its data on this machine."""
    config = _without_source(task.dump_config())
    own = config.get("dataset_kwargs")
    if isinstance(own, dict):
        config["dataset_kwargs"] = {key: value for key, value in own.items() if key != "data_files"}
    return config


def describe_tasks(loaded: LoadedTasks) -> dict[str, dict[str, Any]]:
    """Return facts about each task for readers that do not import lm_eval."""
    return {
        name: {
            "alias": task.get_config("task_alias") or name,
            "output_type": task.OUTPUT_TYPE,
            "version": _plain(task.VERSION),
            "num_fewshot": task.get_config("num_fewshot"),
            "dataset": [task.DATASET_PATH, task.DATASET_NAME],
            "parents": list(loaded.parents_of(name)),
            **({"parameters": task.parameters} if isinstance(task, TextTask) else {}),
        }
        for name, task in loaded.tasks.items()
    }


def data_used(loaded: LoadedTasks) -> list[dict[str, Any]] | None:
    """Return the data sets of the tasks, each with its state; None if a state is unknown."""
    refs: dict[str, dict[str, Any]] = {}
    before: dict[str, str | None] = {}
    for task in loaded.tasks.values():
        if callable(task.get_config("custom_dataset")) or task.DATASET_PATH is None:
            return None
        ref = data_ref(task.DATASET_PATH, task.get_config("dataset_kwargs"))
        refs.setdefault(data_key(ref), ref)
        before.update(getattr(task, "data_states", {}))
    used = []
    for key, ref in refs.items():
        state = data_state(ref)
        if state is None or before.get(key, state) != state:
            return None  # unknown, or changed while the data was being read
        used.append({**ref, "state": state})
    return used


def _counting(task: lm_eval.api.task.Task) -> Any:
    source = (task.get_config("metadata") or {}).get("config_source")
    own_code = any(callable(value) for value in vars(task.config).values())
    code = digest_of_code(str(source)) if source and own_code else None
    config = _without_source(task.dump_config())
    return _plain(
        {
            "version": task.VERSION,
            "output_type": task.OUTPUT_TYPE,
            **{
                key: config.get(key)
                for key in ("metric_list", "filter_list", "repeats", "process_results", "doc_to_choice")
            },
            **({"code": code} if code else {}),
        }
    )


def _without_source(config: dict[str, Any] | None) -> dict[str, Any]:
    """Return a config without the path of its YAML on this machine."""
    config = dict(config or {})
    if isinstance(config.get("metadata"), dict):
        config["metadata"] = {k: v for k, v in config["metadata"].items() if k != "config_source"}
    return config


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=handle_non_serializable))
