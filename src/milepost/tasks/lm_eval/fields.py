"""Check the keys of a task or group file and their values.

A table lists every key that lm_eval takes, with its types and whether lm_eval renders it as a template or
calls it as code, so that each key is checked before lm_eval sees it. A test compares the table with lm_eval's
dataclasses; unknown keys are refused. Source: lm_eval/config/task.py (`TaskConfig`, `FewshotConfig`),
lm_eval/config/group.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from milepost.errors import TaskError
from milepost.tasks.lm_eval.yaml_file import CodeTag
from milepost.text.language import Phrase
from milepost.text.name_matching import did_you_mean

LONGEST_LABEL = 200
MOST_REPEATS = 10_000
"""Answers per doc, which are all in memory at once; lm_eval's own tasks use up to 64."""
OUTPUT_TYPES = ("loglikelihood", "multiple_choice", "loglikelihood_rolling", "generate_until")


@dataclass(frozen=True, slots=True)
class Field:
    """The values that a key takes."""

    kinds: tuple[type, ...]
    """Types of YAML; empty for a key that only takes code."""
    is_template: bool = False
    """True if lm_eval renders its text (or each text in it) with Jinja."""
    items: tuple[type, ...] | None = None
    """Types of a list's items."""
    at_least: int | None = None
    at_most: int | None = None

    def accepts(self, value: Any) -> bool:
        if value is None or isinstance(value, CodeTag):
            return True
        if isinstance(value, bool) and bool not in self.kinds:
            return False
        if not isinstance(value, self.kinds):
            return False
        if isinstance(value, list) and self.items is not None:
            return all(isinstance(item, CodeTag) or _is(item, self.items) for item in value)
        if not isinstance(value, int):
            return True
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    def takes(self) -> str:
        """Describe the values for a message."""
        named = " or ".join(_KINDS[kind] for kind in self.kinds) or "code (`!function`)"
        if self.items and list in self.kinds:
            named += f" (of {' or '.join(_KINDS[kind] for kind in self.items)})"
        if self.at_least is not None:
            named += f" of {self.at_least} or more"
        if self.at_most is not None:
            named += f", at most {self.at_most:,}"
        return named


_KINDS = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list",
    dict: "a mapping",
}  # fmt: skip


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


TEXT = Field((str,))
FLAG = Field((bool,))
CODE = Field(())
MAPPING = Field((dict,))
DOC_FIELDS = {
    "doc_to_text": Field((str, int), is_template=True),
    "doc_to_target": Field((str, int, list), is_template=True),
    "doc_to_choice": Field((str, list, dict), is_template=True, items=(str,)),
    "gen_prefix": Field((str,), is_template=True),
}

TASK_FIELDS: Mapping[str, Field] = {
    **DOC_FIELDS,
    "task": TEXT,
    "task_alias": TEXT,
    "tag": Field((str, list), items=(str,)),
    "custom_dataset": CODE,
    "dataset_path": TEXT,
    "dataset_name": Field((str, int, float)),
    "dataset_kwargs": MAPPING,
    "training_split": TEXT,
    "validation_split": TEXT,
    "test_split": TEXT,
    "fewshot_split": TEXT,
    "process_docs": CODE,
    "doc_to_image": Field((str, list), is_template=True, items=(str,)),
    "doc_to_audio": Field((str, list), is_template=True, items=(str,)),
    "unsafe_code": FLAG,
    "process_results": CODE,
    "use_prompt": TEXT,
    "description": Field((str,), is_template=True),
    "target_delimiter": TEXT,
    "fewshot_delimiter": TEXT,
    "fewshot_config": MAPPING,
    "num_fewshot": Field((int,), at_least=0),
    "metric_list": Field((list,), items=(dict,)),
    "output_type": TEXT,
    "generation_kwargs": MAPPING,
    "repeats": Field((int,), at_least=1, at_most=MOST_REPEATS),
    "filter_list": Field((list,), items=(dict,)),
    "should_decontaminate": FLAG,
    "doc_to_decontamination_query": Field((str,), is_template=True),
    "metadata": Field((dict, str, int, float, list)),
}
"""The keys of `TaskConfig`."""

FEWSHOT_FIELDS: Mapping[str, Field] = {
    **DOC_FIELDS,
    "sampler": TEXT,
    "split": TEXT,
    "process_docs": CODE,
    "fewshot_indices": Field((list,), items=(int,)),
    "samples": Field((list,), items=(dict,)),
    "fewshot_delimiter": TEXT,
    "target_delimiter": TEXT,
}
"""The keys of `fewshot_config`."""

METRIC_FIELDS: Mapping[str, Field] = {
    "metric": TEXT,
    "aggregation": TEXT,
    "higher_is_better": FLAG,
    "hf_evaluate": FLAG,
}
"""Keys of an entry of `metric_list`; any other is an argument of the metric."""

FILTER_FIELDS: Mapping[str, Field] = {"name": TEXT, "filter": Field((list,), items=(dict,))}

GROUP_FIELDS: Mapping[str, Field] = {
    "group": TEXT,
    "group_alias": TEXT,
    "task": Field((str, list), items=(str, dict)),
    "aggregate_metric_list": Field((list, dict), items=(dict,)),
    "metadata": MAPPING,
}
"""The keys of `GroupConfig`."""

AGGREGATE_FIELDS: Mapping[str, Field] = {
    "metric": TEXT,
    "filter_list": Field((list, str), items=(str,)),
    "aggregation": TEXT,
    "weight_by_size": FLAG,
}
"""The keys of `AggMetricConfig`."""

STRUCTURE = ("tag", "group", "task_list", "class")
"""Keys of a task file that lm_eval takes out before it makes a `TaskConfig`, or reads as code."""


def check_fields(content: Mapping[Any, Any], fields: Mapping[str, Field], where: str) -> None:
    """Refuse keys that lm_eval does not know and values of a wrong type.

    Args:
        where: the file, for the message.

    Raises:
        TaskError: the message names the key.
    """
    for key, value in content.items():
        if key not in fields:
            raise TaskError(
                Phrase("{where}: unknown key {key!r}", where=where, key=str(key)[:80]),
                did_you_mean(str(key), fields) or "see lm_eval's task guide for the keys it takes",
            )
        check_value(str(key), value, fields[key], where)


def check_value(key: str, value: Any, field: Field, where: str) -> None:
    """Raise TaskError if `field` does not take `value`."""
    if field.accepts(value):
        return
    hint = "see lm_eval's task guide"
    unquoted = [item for item in (value if isinstance(value, list) else [value]) if not isinstance(item, str)]
    if str in (field.items or field.kinds) and unquoted and isinstance(unquoted[0], bool | int | float):
        hint = Phrase(
            'YAML reads it as a number or as true/false: put it in "quotes" (found {value!r})',
            value=unquoted[0],
        )
    elif not field.kinds:
        hint = Phrase(
            "write `{key}: !function FILE.NAME`; that is Python code and needs --allow-task-code", key=key
        )
    raise TaskError(
        Phrase(
            "{where}: {key} is {value}; lm_eval takes {known}",
            where=where,
            key=key,
            value=_shown(value),
            known=field.takes(),
        ),
        hint,
    )


def check_label(key: str, label: Any, where: str) -> None:
    """Refuse labels that would be unreadable in tables or ambiguous in the keys of results.

    Raises:
        TaskError: the label has control characters or a comma (lm_eval's keys are `metric,filter`), or is
            long.
    """
    if not isinstance(label, str):
        return
    fault = (
        f"more than {LONGEST_LABEL} characters" if len(label) > LONGEST_LABEL
        else "characters that cannot be shown" if not label.isprintable()
        else "a comma" if key == "filter name" and "," in label
        else None
    )  # fmt: skip
    if fault:
        raise TaskError(
            Phrase(
                "{where}: {key} {label} has {fault}", where=where, key=key, label=_shown(label), fault=fault
            ),
            "give it a short, plain name",
        )


def check_task_keys(content: Mapping[Any, Any], where: str) -> None:
    """Check all keys of a task, also within `fewshot_config`, `metric_list` and `filter_list`.

    Raises:
        TaskError: see `check_fields`.
    """
    own = {key: value for key, value in content.items() if key not in STRUCTURE}
    if "class" in content:
        return  # the class decides which keys it takes
    check_fields(own, TASK_FIELDS, where)
    check_label("task_alias", own.get("task_alias"), where)
    output_type = own.get("output_type")
    if output_type is not None and output_type not in OUTPUT_TYPES:
        raise TaskError(
            Phrase(
                "{where}: output_type {output_type} is not one of lm_eval's",
                where=where,
                output_type=_shown(output_type),
            ),
            did_you_mean(str(output_type), OUTPUT_TYPES) or f"it has {', '.join(OUTPUT_TYPES)}",
        )
    if isinstance(own.get("fewshot_config"), dict):
        check_fields(own["fewshot_config"], FEWSHOT_FIELDS, f"{where}: fewshot_config")
    for entry in _items(own, "metric_list"):
        known = {key: value for key, value in entry.items() if key in METRIC_FIELDS}
        check_fields(known, METRIC_FIELDS, f"{where}: metric_list")
        if entry.get("metric") is None:
            raise TaskError(
                Phrase("{where}: an entry of metric_list has no `metric`", where=where),
                "write `- metric: acc`",
            )
    for entry in _items(own, "filter_list"):
        check_fields(entry, FILTER_FIELDS, f"{where}: filter_list")
        check_label("filter name", entry.get("name"), where)
        if not isinstance(entry.get("name"), str) or not entry.get("filter"):
            raise TaskError(
                Phrase("{where}: an entry of filter_list has no `name` or no `filter`", where=where),
                "write `- name: NAME` and below it `filter: [{function: take_first}]`",
            )
        for step in entry["filter"]:
            if not isinstance(step, CodeTag) and not isinstance(step.get("function"), str | CodeTag):
                raise TaskError(
                    Phrase(
                        "{where}: filter {name!r} has a step without `function`",
                        where=where,
                        name=entry["name"],
                    ),
                    "write `- function: take_first`",
                )


def check_group_keys(content: Mapping[Any, Any], where: str) -> None:
    """Check all keys of a group and those that it sets in its members.

    Raises:
        TaskError: see `check_fields`.
    """
    own = {key: value for key, value in content.items() if key in GROUP_FIELDS}
    check_fields(own, GROUP_FIELDS, where)
    check_label("group_alias", own.get("group_alias"), where)
    aggregates = own.get("aggregate_metric_list")
    for entry in [aggregates] if isinstance(aggregates, dict) else aggregates or []:
        check_fields(entry, AGGREGATE_FIELDS, f"{where}: aggregate_metric_list")
        if entry.get("metric") is None:
            raise TaskError(
                Phrase("{where}: an entry of aggregate_metric_list has no `metric`", where=where),
                "write `- metric: acc`",
            )
        if entry.get("aggregation", "mean") != "mean" and not isinstance(entry["aggregation"], CodeTag):
            raise TaskError(
                Phrase(
                    "{where}: aggregation {aggregation} of a group; lm_eval knows `mean` only",
                    where=where,
                    aggregation=_shown(entry["aggregation"]),
                ),
                "write `aggregation: mean`, or leave it out",
            )
    check_task_keys({key: value for key, value in content.items() if key not in GROUP_FIELDS}, where)


def templates_of(content: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield key and text of everything in a task that lm_eval renders as a template."""
    yield from _templates(content, TASK_FIELDS, "")
    if isinstance(fewshot := content.get("fewshot_config"), dict):
        yield from _templates(fewshot, FEWSHOT_FIELDS, "fewshot_config: ")


def _templates(
    content: Mapping[Any, Any], fields: Mapping[str, Field], prefix: str
) -> Iterator[tuple[str, str]]:
    for key, field in fields.items():
        value = content.get(key)
        if field.is_template and isinstance(value, str):
            yield prefix + key, value
        elif key in ("doc_to_image", "doc_to_audio") and isinstance(value, list):
            yield from ((prefix + key, text) for text in value if isinstance(text, str))


def _items(content: Mapping[Any, Any], key: str) -> Iterator[dict[str, Any]]:
    yield from (entry for entry in content.get(key) or [] if isinstance(entry, dict))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
