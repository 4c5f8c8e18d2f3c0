"""Index the names of all tasks without parsing 14,683 YAML files.

lm_eval's `TaskManager()` parses all of its task files each time it starts, 6 to 14 CPU seconds. Its index
needs only five top-level keys, which stand at the start of a line, so a plain text scan finds them in about a
second; a file whose keys are not plain scalars is parsed as lm_eval does. The index is cached on disk for the
installed lm_eval version. A test compares it with lm_eval's own, entry by entry.

Source: lm_eval/tasks/_index.py (`TaskIndex.build`, `process_cfg`).
"""

from __future__ import annotations

import fnmatch
import functools
import importlib.metadata
import importlib.util
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import TaskError
from milepost.files.cache import cache_folder, write_cache_file
from milepost.tasks.lm_eval.includes import read_config
from milepost.tasks.lm_eval.yaml_file import parse_yaml
from milepost.tasks.names import check_distinct, check_name
from milepost.text.language import Phrase
from milepost.text.name_matching import close_names, is_pattern

OWN_TASKS = Path(__file__).parent / "perplexity"
IGNORED_FOLDERS = {"__pycache__", ".ipynb_checkpoints"}
INDEXING_KEYS = ("task", "group", "class", "tag", "include")
KEY_LINE = re.compile(r"""^["']?(task|group|class|tag|include)["']?[ \t]*:[ \t]*(.*?)[ \t]*$""", re.MULTILINE)
PLAIN_SCALAR = re.compile(r"""^(["']?)([A-Za-z0-9_./+\-:]+)\1$""")
LIST_ITEM = re.compile(r"\n[ \t]*-[ \t]+(.+?)[ \t]*(?=\n|$)")


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A name that a user can pass to --tasks."""

    name: str
    kind: str
    """`TASK`, `PY_TASK`, `GROUP` or `TAG`, as lm_eval's `Kind` names them."""
    path: str | None
    """The YAML file; None for a tag."""
    tags: tuple[str, ...] = ()
    """For a tag: its tasks. For a task or group: its tags."""
    is_own: bool = False
    """True if it comes from `--include-path`: the file of the user or of a stranger."""


Catalog = dict[str, CatalogEntry]


def load_catalog(include_path: Path | None = None) -> Catalog:
    """Return the names of lm_eval, of Milepost's perplexity tasks and of `include_path`; the last win.

    Raises:
        TaskError: `include_path` is not a folder, or a YAML file in it does not parse or has an invalid name.
    """
    catalog = {**_builtin_catalog(), **_scan(OWN_TASKS, _PlainHead())}
    if include_path is not None:
        if not include_path.is_dir():
            if include_path.is_file():
                raise TaskError(
                    Phrase("--include-path {path} is a file", path=include_path),
                    Phrase("pass the folder it lies in: --include-path {folder}", folder=include_path.parent),
                )
            raise TaskError(
                Phrase("--include-path {include_path} is not a folder", include_path=include_path),
                "pass the folder that holds your task YAML files",
            )
        own = _scan(include_path, _strict_head, is_own=True)
        check_distinct(own, catalog, str(include_path))
        catalog.update(own)
    return catalog


def resolve_names(patterns: list[str], catalog: Catalog) -> list[str]:
    """Expand glob patterns and check every name.

    Raises:
        TaskError: a name is unknown or a pattern matches nothing; the hint lists close names.
    """
    names: dict[str, None] = {}
    for name in patterns:
        if is_pattern(name):
            matches = sorted(fnmatch.filter(catalog, name))
        else:
            matches = [name] if name in catalog else []
        if not matches:
            raise TaskError(
                Phrase("there is no task, group or tag named {name!r}", name=name), suggest(name, catalog)
            )
        names.update(dict.fromkeys(matches))
    return list(names)


def suggest(name: str, catalog: Catalog) -> str:
    """Return a hint with names close to `name`."""
    bare = name.strip("*?[]")
    close = close_names(name, catalog, n=4, cutoff=0.6)
    close += [other for other in sorted(catalog, key=len) if bare and bare in other and other not in close][
        :3
    ]
    if not close:
        return Phrase("names are lm_eval's own; pass --include-path FOLDER for YAML tasks of your own")
    names = ", ".join(close[:5])
    if any(entry.is_own for entry in catalog.values()):
        return Phrase("did you mean {names}?", names=names)
    return Phrase("did you mean {names}? YAML tasks of your own need --include-path FOLDER", names=names)


@functools.cache
def _builtin_catalog() -> Catalog:
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise TaskError("lm_eval is not installed", "pip install lm_eval==0.4.13")
    root = Path(next(iter(spec.submodule_search_locations))) / "tasks"
    version = importlib.metadata.version("lm_eval")
    kept = cache_folder() / "catalogs" / f"lm_eval-{version}.json"
    stamp = [str(root), root.stat().st_mtime_ns]
    try:
        saved = json.loads(kept.read_text("utf-8"))
        if saved["stamp"] == stamp:
            return {
                row[0]: CatalogEntry(row[0], row[1], row[2] and f"{root}/{row[2]}", tuple(row[3]))
                for row in saved["entries"]
            }
    except (OSError, ValueError, KeyError):
        pass  # no index yet, or an index of another version
    catalog = _scan(root, _PlainHead())
    entries = [
        [e.name, e.kind, e.path and e.path.removeprefix(f"{root}/"), list(e.tags)] for e in catalog.values()
    ]
    write_cache_file(kept, json.dumps({"stamp": stamp, "entries": entries}).encode())
    return catalog


def _scan(root: Path, head_of: Callable[[str], dict[str, Any]], *, is_own: bool = False) -> Catalog:
    """Index a folder; the first of two equal names wins, as in lm_eval."""
    catalog: Catalog = {}
    tagged: dict[str, list[str]] = {}
    for path in _task_files(root):
        head = head_of(path)
        tags = tuple(_as_list(head.get("tag")))
        if "class" in head or ("task" in head and "group" not in head):
            name, kind = head.get("task"), "PY_TASK" if "class" in head else "TASK"
        elif "group" in head:
            name, kind = head.get("group"), "GROUP"
        else:
            continue
        if is_own and name is not None:
            check_name(name, "group" if kind == "GROUP" else "task", path)
            for tag in tags:
                check_name(tag, "tag", path)
        if not isinstance(name, str) or name in catalog:
            continue
        catalog[name] = CatalogEntry(name, kind, path, tags, is_own)
        if kind != "GROUP":
            for tag in tags:
                tagged.setdefault(tag, []).append(name)
    for tag, names in tagged.items():
        catalog.setdefault(tag, CatalogEntry(tag, "TAG", None, tuple(sorted(names)), is_own))
    return catalog


def _task_files(root: Path) -> list[str]:
    # Strings and not Paths: for 14,683 files pathlib alone would take longer than reading them.
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in IGNORED_FOLDERS]
        found += [f"{folder}/{name}" for name in files if name.endswith(".yaml")]
    return sorted(found)


def _strict_head(path: str) -> dict[str, Any]:
    """Return the indexing keys of a user's file, parsed as for its use."""
    content = read_config(Path(path)).content
    return {key: content[key] for key in INDEXING_KEYS if key in content}


class _PlainHead:
    """Reads the indexing keys of lm_eval's files by text scan, and merges includes as lm_eval does."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Any]] = {}

    def __call__(self, path: str) -> dict[str, Any]:
        if path not in self._seen:
            self._seen[path] = {}  # an include cycle ends here
            self._seen[path] = self._read(path)
        return self._seen[path]

    def _read(self, path: str) -> dict[str, Any]:
        own = _plain_keys(path)
        if own is None:
            own = _parsed_keys(path)
        merged: dict[str, Any] = {}
        for included in _as_list(own.get("include")):
            target = os.path.normpath(os.path.join(os.path.dirname(path), included))
            if target in self._seen or os.path.isfile(target):
                merged.update(self(target))
        merged.update({key: value for key, value in own.items() if key != "include"})
        return merged


def _plain_keys(path: str) -> dict[str, Any] | None:
    """Return the indexing keys by text scan; None if a value is not a plain scalar or simple list."""
    with open(path, "rb", buffering=0) as file:  # a text reader would be slow for 14,683 files
        text = file.read().decode("utf-8", "replace")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    found: dict[str, Any] = {}
    for match in KEY_LINE.finditer(text):
        key, value = match.groups()
        if key in found:
            return None
        if key == "class":
            found[key] = True
        elif scalar := PLAIN_SCALAR.match(value):
            found[key] = scalar.group(2)
        elif not value and key == "task":
            found[key] = []  # the members of a group are not needed here
        elif not value and key in ("tag", "include"):
            items, end = [], match.end()
            while item := LIST_ITEM.match(text, end):
                scalar = PLAIN_SCALAR.match(item.group(1))
                if scalar is None:
                    return None
                items.append(scalar.group(2))
                end = item.end()
            if not items:
                return None
            found[key] = items
        else:
            return None
    return found


def _parsed_keys(path: str) -> dict[str, Any]:
    try:
        parsed = parse_yaml(Path(path))
    except TaskError:
        return {}  # lm_eval skips its files that do not parse too
    return {key: parsed[key] for key in INDEXING_KEYS if key in parsed}


def _as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
