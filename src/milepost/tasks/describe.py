"""What a set of loaded tasks is, as JSON: for naming a plan and for people."""

from __future__ import annotations

import json
from typing import Any

import lm_eval.api.task
from lm_eval.utils import handle_non_serializable

from milepost.tasks.data import data_state
from milepost.tasks.loading import LoadedTasks
from milepost.tasks.perplexity.text_task import TextTask


def describe_counting(loaded: LoadedTasks) -> dict[str, Any]:
    """Everything besides prompts that decides a figure: versions, metrics, filters, group weights."""
    return {
        "tasks": {name: _counting(task) for name, task in loaded.tasks.items()},
        "groups": {name: _plain(_without_source(group.to_dict())) for name, group in loaded.groups.items()},
    }


def describe_tasks(loaded: LoadedTasks) -> dict[str, dict[str, Any]]:
    """By task: what people and tools want to know of it without importing lm_eval."""
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
    """The data sets behind the tasks and the state each is in; None where that cannot be told."""
    refs: dict[str, dict[str, Any]] = {}
    for task in loaded.tasks.values():
        if callable(task.get_config("custom_dataset")) or task.DATASET_PATH is None:
            return None
        files = (task.get_config("dataset_kwargs") or {}).get("data_files")
        ref = {"path": task.DATASET_PATH, "data_files": files}
        refs.setdefault(json.dumps(ref, sort_keys=True, default=str), ref)
    used = []
    for ref in refs.values():
        state = data_state(ref)
        if state is None:
            return None
        used.append({**ref, "state": state})
    return used


def _counting(task: lm_eval.api.task.Task) -> Any:
    config = _without_source(task.dump_config())
    return _plain(
        {
            "version": task.VERSION,
            "output_type": task.OUTPUT_TYPE,
            **{
                key: config.get(key)
                for key in ("metric_list", "filter_list", "repeats", "process_results", "doc_to_choice")
            },
        }
    )


def _without_source(config: dict[str, Any] | None) -> dict[str, Any]:
    """Where the YAML lies on this machine is no part of what it says."""
    config = dict(config or {})
    if isinstance(config.get("metadata"), dict):
        config["metadata"] = {k: v for k, v in config["metadata"].items() if k != "config_source"}
    return config


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=handle_non_serializable))
