"""What the text of task files tells before lm_eval is imported or any data fetched: names, types, code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2

from milepost.errors import TaskError
from milepost.tasks.catalog import Catalog, load_catalog, parse_yaml, resolve_names
from milepost.tasks.files import files_of, merged_key, with_includes
from milepost.tasks.settings import TaskSettings

SUPPORTED = ("multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until")
LM_EVAL_DEFAULT = "generate_until"
"""The type of a task whose file names none (lm_eval/config/task.py, `TaskConfig`)."""

_FAULTS = (
    LookupError, ValueError, TypeError, AttributeError, AssertionError, ImportError, jinja2.TemplateError
)  # fmt: skip


def check_tasks(settings: TaskSettings) -> tuple[list[str], Catalog]:
    """The names that `settings` asks for, patterns expanded, and the catalog they are in.

    Raises:
        TaskError: an unknown name, YAML that does not parse or would run code without leave, a task type
            that cannot be scored yet.
    """
    catalog = load_catalog(settings.include_path)
    names = resolve_names(list(settings.names), catalog)
    for path in files_of(names, catalog):
        if is_own(path, settings) and not settings.allow_task_code:
            _refuse_code(path)
        name = merged_key(path, "task")
        if isinstance(name, str) and not merged_key(path, "class"):
            output_type = merged_key(path, "output_type") or LM_EVAL_DEFAULT
            if output_type not in SUPPORTED:
                raise not_yet(name, output_type)
    return names, catalog


@contextmanager
def blaming_own_tasks(settings: TaskSettings) -> Iterator[None]:
    """Within it, what lm_eval trips over is told as a fault of the user's task files, where there are any.

    Raises:
        TaskError: in place of whatever lm_eval raised.
    """
    try:
        yield
    except jinja2.exceptions.SecurityError as error:
        raise TaskError(
            f"a template of a task in {settings.include_path} reaches for Python itself: {error}",
            "read that template, then pass --allow-task-code if you trust it",
        ) from error
    except _FAULTS as error:
        if settings.include_path is None:
            raise
        said = " ".join(str(error).split()) or "no reason given"
        raise TaskError(
            f"lm_eval cannot use the tasks in {settings.include_path}: {type(error).__name__}: {said[:300]}",
            "compare their keys and the fields of their data with lm_eval's task guide",
        ) from error


def is_own(path: Path, settings: TaskSettings) -> bool:
    """Whether a task file is the user's and not lm_eval's."""
    return settings.include_path is not None and path.is_relative_to(settings.include_path)


def not_yet(name: str, output_type: str | None) -> TaskError:
    return TaskError(
        f"task {name} is of type {output_type}, which Milepost cannot score yet",
        f"leave it out; {', '.join(SUPPORTED)} tasks work",
    )


def _refuse_code(path: Path) -> None:
    for file in with_includes(path):
        parse_yaml(file)
        for line in _function_lines(file):
            raise TaskError(
                f"{file}, line {line}: `!function` would run Python code from this folder",
                "read that code, then pass --allow-task-code if you trust it",
            )


def _function_lines(file: Path) -> list[int]:
    """Lines of `!function` tags, told from the parsed file: YAML can spell a tag in more than one way."""
    import yaml

    found: list[int] = []
    seen: set[int] = set()
    waiting: list[Any] = [yaml.compose(file.read_text("utf-8"), Loader=yaml.SafeLoader)]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.tag == "!function":
            found.append(node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
    return sorted(found)
