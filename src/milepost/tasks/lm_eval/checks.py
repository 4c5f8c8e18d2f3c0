"""Check task files before lm_eval is imported or data is downloaded: names, types, code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from milepost.errors import TaskError
from milepost.tasks.lm_eval.catalog import Catalog, load_catalog, resolve_names, suggest
from milepost.tasks.lm_eval.fields import (
    CODE,
    GROUP_FIELDS,
    TASK_FIELDS,
    check_group_keys,
    check_task_keys,
    templates_of,
)
from milepost.tasks.lm_eval.includes import Config, read_config
from milepost.tasks.lm_eval.local_data import check_source
from milepost.tasks.lm_eval.task_files import configs_of, digest_of, members
from milepost.tasks.lm_eval.templates.rendering import check_template
from milepost.tasks.names import check_name
from milepost.tasks.settings import TaskSettings
from milepost.text.language import Phrase

SUPPORTED = ("multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until")
LM_EVAL_DEFAULT = "generate_until"
"""The default output type (lm_eval/config/task.py, `TaskConfig`)."""
MOST_MEMBERS = 20_000
"""Most tasks in a group, each counted as often as it is named."""

_READ_IT = Phrase("read that code, then pass --allow-task-code if you trust it")
_DATA_KEYS = ("custom_dataset", "dataset_path", "dataset_name", "dataset_kwargs")


Reader = Callable[[Path], Config]
"""Returns the config of a file, the same for every call."""


@dataclass(frozen=True, slots=True)
class CheckedTasks:
    """Tasks that passed the checks; lm_eval is given exactly this content."""

    names: tuple[str, ...]
    """Without patterns, which are expanded."""
    catalog: Catalog
    configs: Mapping[str, Config]
    """By path in the catalog, for every file behind the names."""
    digest: str
    """Hash of everything in these files that can change requests or metrics."""

    def own(self) -> Iterator[tuple[str, Config]]:
        """Yield name and config of tasks and groups of `--include-path`."""
        for entry in self.catalog.values():
            if entry.is_own and entry.path is not None and entry.path in self.configs:
                yield entry.name, self.configs[entry.path]


def check_tasks(settings: TaskSettings) -> CheckedTasks:
    """Find and check the tasks of `settings`; reads each file once.

    Raises:
        TaskError: an unknown name, YAML that does not parse or would run code that the user does not allow, a
            key or value that lm_eval does not take, a task type that cannot be scored yet, missing data
            files.
    """
    catalog = load_catalog(settings.include_path)
    names = resolve_names(list(settings.names), catalog)
    configs: dict[str, Config] = {}
    read = functools.cache(read_config)
    for entry, config in configs_of(names, catalog, read):
        configs[str(entry.path)] = config
        content = config.content
        if entry.is_own:
            # The file may have changed since the catalog read it.
            named = content.get("group") if entry.kind == "GROUP" else content.get("task")
            if named != entry.name or (entry.kind == "PY_TASK") != ("class" in content):
                raise TaskError(
                    Phrase("{path}: it changed while it was being read", path=entry.path),
                    "run the command again",
                )
            _check_own(config, entry.kind, settings.allow_task_code)
        if entry.kind == "TASK":
            output_type = content.get("output_type") or LM_EVAL_DEFAULT
            if output_type not in SUPPORTED:
                raise not_yet(entry.name, output_type)
    for entry, config in configs_of(names, catalog, read):
        if entry.is_own and entry.kind == "GROUP":
            _check_members(entry.name, config, catalog, read, settings.allow_task_code)
    _count_members(names, catalog, read)
    return CheckedTasks(tuple(names), catalog, configs, digest_of(configs.values()))


def _check_own(config: Config, kind: str, trusted: bool) -> None:
    if not trusted:
        for tag in config.code:
            raise TaskError(
                Phrase(
                    "{file}, line {line}: `!function` would run Python code from this folder",
                    file=tag.file,
                    line=tag.line,
                ),
                _READ_IT,
            )
        if "class" in config.content:
            raise TaskError(Phrase("{path}: `class` would run Python code", path=config.path), _READ_IT)
    where = str(config.path)
    if kind == "GROUP":
        check_group_keys(config.content, where)
        _check_safe({k: v for k, v in config.content.items() if k not in GROUP_FIELDS}, where, trusted)
    else:
        check_task_keys(config.content, where)
        if not trusted and "class" not in config.content:
            _check_safe(config.content, where, trusted)
        elif "class" not in config.content:
            check_source(config.content, where, trusted=True)


def _check_safe(content: Mapping[str, Any], where: str, trusted: bool) -> None:
    """Refuse keys that run code, of a task or of those that a group sets in its members."""
    check_source(content, where, trusted=trusted)
    if trusted:
        return
    for key, field in TASK_FIELDS.items():
        if field is CODE and content.get(key) is not None:
            raise TaskError(Phrase("{where}: {key} would run Python code", where=where, key=key), _READ_IT)
    if content.get("unsafe_code"):
        raise TaskError(Phrase("{where}: unsafe_code runs what the model writes", where=where), _READ_IT)
    prompt = content.get("use_prompt")
    if prompt is not None and (not isinstance(prompt, str) or not prompt.startswith("qa-basic:")):
        raise TaskError(
            Phrase(
                "{where}: use_prompt {prompt!r} reads templates from elsewhere", where=where, prompt=prompt
            ),
            "write the template as doc_to_text and doc_to_target, or pass --allow-task-code",
        )
    for listed in content.get("metric_list") or []:
        if listed.get("hf_evaluate"):
            raise TaskError(
                Phrase(
                    "{where}: hf_evaluate runs the script of metric {metric!r}",
                    where=where,
                    metric=listed.get("metric"),
                ),
                "use a metric of lm_eval's own, or pass --allow-task-code if you trust that script",
            )
    for key, text in templates_of(content):
        _check_template(key, text, where)


def _check_template(key: str, text: str, where: str) -> None:
    try:
        check_template(text)
    except jinja2.TemplateSyntaxError as error:
        raise TaskError(
            Phrase(
                "{where}: {key} is not a valid Jinja template: {message} (its line {line})",
                where=where,
                key=key,
                message=error.message,
                line=error.lineno,
            ),
            "correct it; a text with {{ or {% in it is a template",
        ) from error
    except jinja2.exceptions.SecurityError as error:
        raise TaskError(
            Phrase(
                "{where}: {key}: a template that reaches for Python itself or another file: {error}",
                where=where,
                key=key,
                error=error,
            ),
            _READ_IT,
        ) from error


def _check_members(name: str, config: Config, catalog: Catalog, read: Reader, trusted: bool) -> None:
    """Check what a group sets in its members as if it stood in their own files."""
    where = str(config.path)
    changes = [{key: value for key, value in config.content.items() if key not in GROUP_FIELDS}]
    listed = config.content.get("task")
    if not isinstance(listed, list) or not listed:
        raise TaskError(
            Phrase("{where}: group {name} has no members", where=where, name=name),
            "list tasks or groups below `task:`",
        )
    waiting = list(listed)
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if item not in catalog:
                raise TaskError(
                    Phrase(
                        "{where}: member {item!r} is not a task, group or tag", where=where, item=item[:80]
                    ),
                    suggest(item, catalog),
                )
            continue
        named = item.get("group", item.get("task"))
        if not isinstance(named, str):
            raise TaskError(
                Phrase(
                    "{where}: a member of group {name} has neither `task` nor `group`", where=where, name=name
                ),
                "name it",
            )
        own = {key: value for key, value in item.items() if key != "group"}
        changes.append(own)
        inside = f"{where}: member {named[:80]!r}"
        if "group" in item:
            check_group_keys(item, inside)
            _check_safe({k: v for k, v in own.items() if k not in GROUP_FIELDS}, inside, trusted)
            if named not in catalog:
                check_name(named, "group", where)
                waiting += own["task"] if isinstance(own.get("task"), list) else []
        else:
            _check_member_task(item, inside, trusted)
            if named not in catalog:
                check_name(named, "task", where)
                _check_has_data([own, changes[0]], inside, suggest(named, catalog))
    if not trusted:
        _refuse_feeding_code(where, changes, listed, catalog, read)


def _check_has_data(settings: list[dict[str, Any]], inside: str, hint: str | None) -> None:
    if not any(key in keys for key in _DATA_KEYS[:2] for keys in settings):
        raise TaskError(
            Phrase("{inside} is not a task, group or tag, and has no dataset_path", inside=inside), hint
        )


def _check_member_task(item: dict[str, Any], inside: str, trusted: bool) -> None:
    """Check the keys that a group sets for one of its tasks."""
    if "class" in item and not trusted:
        raise TaskError(Phrase("{inside}: `class` would run Python code", inside=inside), _READ_IT)
    check_task_keys(item, inside)
    _check_safe(item, inside, trusted)


def _refuse_feeding_code(
    where: str, changes: list[dict[str, Any]], listed: list[Any], catalog: Catalog, read: Reader
) -> None:
    """Refuse files that choose data or parameters for code of lm_eval's tasks, which trusts both.

    For example, `ruler` loads the tokenizer that `metadata` names, with that tokenizer's code.
    """
    given = {
        key
        for change in changes
        for key in (*_DATA_KEYS, *(f"metadata: {name}" for name in _parameters(change)))
        if key in change or key.startswith("metadata: ")
    }
    if not given:
        return
    for entry, config in configs_of(members(listed), catalog, read):
        if not entry.is_own and ("class" in config.content or next(config.code, None) is not None):
            raise TaskError(
                Phrase(
                    "{where}: sets {keys} of {name}, whose code then works with them",
                    where=where,
                    keys=", ".join(sorted(given)),
                    name=entry.name,
                ),
                "leave these out, or pass --allow-task-code if you trust this file",
            )


def _parameters(change: Mapping[str, Any]) -> list[str]:
    metadata = change.get("metadata")
    return [str(key) for key in metadata if key != "version"] if isinstance(metadata, dict) else []


def _count_members(names: list[str], catalog: Catalog, read: Reader) -> None:
    """Refuse groups that contain themselves or too many tasks."""
    counts: dict[str, int] = {}
    open_names: set[str] = set()

    def count(name: str) -> int:
        if name in open_names:
            raise TaskError(
                Phrase("group {name} is a member of itself", name=name), "remove it from its own members"
            )
        if name not in counts:
            open_names.add(name)
            entry = catalog.get(name)
            below = _direct_members(entry.name, catalog, read) if entry else []
            counts[name] = max(1, sum(map(count, below)))
            open_names.remove(name)
        if counts[name] > MOST_MEMBERS:
            raise TaskError(
                Phrase("{name} has more than {n:,} tasks", name=name, n=MOST_MEMBERS),
                "name fewer tasks",
            )
        return counts[name]

    try:
        for name in names:
            count(name)
    except RecursionError as error:
        raise TaskError("the groups are nested too deeply", "name their members") from error


def _direct_members(name: str, catalog: Catalog, read: Reader) -> list[str]:
    entry = catalog[name]
    if entry.path is None:
        return list(entry.tags)
    if entry.kind != "GROUP":
        return []
    return list(members(read(Path(entry.path)).content.get("task")))


def not_yet(name: str, output_type: str | None) -> TaskError:
    """Return the error for an output type that cannot be scored."""
    return TaskError(
        Phrase(
            "task {name} is of type {kind}, which Milepost cannot score yet",
            name=name,
            kind=output_type,
        ),
        Phrase("leave it out; {kinds} tasks work", kinds=", ".join(SUPPORTED)),
    )
