"""The files behind task names: groups and tags followed to their members, includes followed to their end.

Reads YAML as data and imports no lm_eval, so that a run whose plan is cached need not.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from milepost.tasks.catalog import Catalog, load_catalog, parse_yaml, resolve_names
from milepost.tasks.settings import TaskSettings


def task_files(settings: TaskSettings) -> list[Path]:
    """Every file whose text can change what `settings` asks: YAML, and the Python files beside it.

    Raises:
        TaskError: an unknown name, or YAML that does not parse.
    """
    catalog = load_catalog(settings.include_path)
    files: set[Path] = set()
    for path in files_of(resolve_names(list(settings.names), catalog), catalog):
        files.update(with_includes(path))
        files.update(path.parent.glob("*.py"))
    return sorted(files)


def files_of(names: Iterable[str], catalog: Catalog) -> Iterator[Path]:
    """The YAML file of each name and of everything it leads to, once each."""
    waiting, seen = list(names), set()
    while waiting:
        entry = catalog.get(waiting.pop())
        if entry is None or entry.name in seen:
            continue
        seen.add(entry.name)
        if entry.path is None:
            waiting += entry.tags
            continue
        yield Path(entry.path)
        if entry.kind == "GROUP":
            waiting += _members(merged_key(Path(entry.path), "task"))


def with_includes(path: Path) -> list[Path]:
    """`path` and every file it includes, nearest first."""
    files: list[Path] = []
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in files or not file.is_file():
            continue
        files.append(file)
        included = _parsed(file).get("include") or []
        waiting += [file.parent / name for name in (included if isinstance(included, list) else [included])]
    return files


def merged_key(path: Path, key: str) -> Any:
    """A top-level key of a task file, from the file or what it includes; None if nowhere."""
    return next((parsed[key] for file in with_includes(path) if key in (parsed := _parsed(file))), None)


def _members(listed: Any) -> list[str]:
    names: list[str] = []
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, str):
            names.append(item)
        elif isinstance(item, dict):
            names += [str(item[key]) for key in ("task", "group") if isinstance(item.get(key), str)]
            names += _members(item.get("task"))
    return names


def _parsed(path: Path) -> dict[str, Any]:
    return _parsed_at(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8192)
def _parsed_at(path: Path, mtime_ns: int) -> dict[str, Any]:
    return parse_yaml(path)
