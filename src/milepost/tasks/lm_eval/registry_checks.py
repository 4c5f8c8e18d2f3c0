"""Check that the metrics, aggregations, filters and samplers of a user's task are lm_eval's own.

For a metric that lm_eval lacks it would load a script of that name, from the disk or the Hub, and run it.
Source: lm_eval/api/task.py (`ConfigurableTask.__init__`, `process_results`), lm_eval/api/registry.py.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lm_eval import filters  # registers the filters as it is imported
from lm_eval.api.registry import (
    AGGREGATION_REGISTRY,
    METRIC_AGGREGATION_REGISTRY,
    METRIC_REGISTRY,
)
from lm_eval.api.samplers import SAMPLER_REGISTRY

from milepost.errors import TaskError
from milepost.tasks.lm_eval.checks import LM_EVAL_DEFAULT, CheckedTasks
from milepost.tasks.lm_eval.fields import GROUP_FIELDS
from milepost.tasks.settings import TaskSettings
from milepost.text.language import Phrase
from milepost.text.name_matching import did_you_mean

COMPUTED = {
    "loglikelihood": {"perplexity", "acc"},
    "loglikelihood_rolling": {"word_perplexity", "byte_perplexity", "bits_per_byte"},
    "multiple_choice": {
        "acc", "f1", "mcc", "acc_norm", "acc_bytes", "exact_match", "brier_score", "likelihood",
        "acc_mutual_info",
    },
}  # fmt: skip
"""Metrics that lm_eval computes for each output type without a task's own code; for texts any metric."""

logger = logging.getLogger("milepost.tasks")


def check_registered(checked: CheckedTasks, settings: TaskSettings) -> None:
    """Look up the names in the user's task files.

    Raises:
        TaskError: a metric that is not lm_eval's own (unless code is allowed), an unknown aggregation,
            sampler or filter, or a filter that does not take these arguments.
    """
    for _, config in checked.own():
        for where, content in _contents(str(config.path), config.content):
            _check_metrics(content, where, settings)
            for entry in content.get("filter_list") or []:
                for step in entry["filter"]:
                    _check_filter(step, f"{where}: filter {entry['name']!r}", settings)
            sampler = (content.get("fewshot_config") or {}).get("sampler")
            if isinstance(sampler, str) and sampler not in SAMPLER_REGISTRY:
                raise TaskError(
                    Phrase("{where}: lm_eval has no sampler {sampler!r}", where=where, sampler=sampler),
                    Phrase("it has {names}", names=", ".join(SAMPLER_REGISTRY)),
                )


def _contents(where: str, content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a task's keys, or those that a group sets in its members and those of each member."""
    if "group" not in content or not isinstance(content.get("task"), list):
        yield where, content
        return
    yield where, {key: value for key, value in content.items() if key not in GROUP_FIELDS}
    for item in content["task"]:
        if isinstance(item, dict):
            yield from _contents(f"{where}: member {str(item.get('group', item.get('task')))[:80]!r}", item)


def _check_metrics(content: Mapping[str, Any], where: str, settings: TaskSettings) -> None:
    has_code = content.get("process_results") is not None or "class" in content
    output_type = content.get("output_type") or LM_EVAL_DEFAULT
    for listed in content.get("metric_list") or []:
        name, aggregation = listed["metric"], listed.get("aggregation")
        if isinstance(aggregation, str) and aggregation not in AGGREGATION_REGISTRY:
            raise TaskError(
                Phrase(
                    "{where}: lm_eval has no aggregation {aggregation!r}",
                    where=where,
                    aggregation=aggregation,
                ),
                did_you_mean(aggregation, AGGREGATION_REGISTRY)
                or f"it has {', '.join(sorted(AGGREGATION_REGISTRY))}",
            )
        if not isinstance(name, str) or (has_code and settings.allow_task_code):
            continue
        if name not in METRIC_REGISTRY and not settings.allow_task_code:
            raise TaskError(
                Phrase(
                    "{where}: metric {name!r} is not lm_eval's own, so a script would run",
                    where=where,
                    name=name[:80],
                ),
                did_you_mean(name, METRIC_REGISTRY)
                or "correct the name, or pass --allow-task-code if you trust that script",
            )
        if aggregation is None and name not in METRIC_AGGREGATION_REGISTRY:
            raise TaskError(
                Phrase("{where}: metric {name!r} has no aggregation", where=where, name=name),
                "write `aggregation: mean` below it",
            )
        if "output_type" in content and name not in COMPUTED.get(output_type, {name}):
            logger.warning(
                "%s: lm_eval does not compute %s for output_type %s; it has %s",
                where, name, output_type, ", ".join(sorted(COMPUTED[output_type])),
            )  # fmt: skip


def _check_filter(step: Any, where: str, settings: TaskSettings) -> None:
    name = step["function"] if isinstance(step, dict) else step
    if not isinstance(name, str):
        return
    if name not in filters.filter_registry:
        raise TaskError(
            Phrase("{where}: lm_eval has no filter function {name!r}", where=where, name=name),
            did_you_mean(name, filters.filter_registry)
            or f"it has {', '.join(sorted(filters.filter_registry))}",
        )
    arguments = {key: value for key, value in step.items() if key != "function"}
    if name == "custom" and not settings.allow_task_code:
        raise TaskError(
            Phrase("{where}: `custom` runs Python code", where=where),
            "use another filter, or pass --allow-task-code",
        )
    if name == "custom":
        return
    try:
        filters.filter_registry[name](**arguments)
    except re.error as error:
        raise TaskError(
            Phrase(
                "{where}: regex_pattern is not a valid regular expression: {error}",
                where=where,
                error=str(error),
            ),
            "correct it",
        ) from error
    except (TypeError, KeyError, AssertionError, AttributeError, ValueError) as error:
        raise TaskError(
            Phrase(
                "{where}: {name} does not take these arguments: {error}",
                where=where,
                name=name,
                error=str(error),
            ),
            "see lm_eval's docs",
        ) from error
