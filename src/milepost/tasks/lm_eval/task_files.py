"""Find the files behind task names: members of groups and tags, and includes.

Reads YAML as data and does not import lm_eval, so that a run with a cached plan starts quickly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from milepost.tasks.lm_eval.catalog import Catalog, CatalogEntry
from milepost.tasks.lm_eval.includes import Config, read_config
from milepost.tasks.lm_eval.yaml_file import read_regular_file

MOST_MODULE_BYTES = 10_000_000
MOST_MODULES = 1000


def configs_of(
    names: Iterable[str], catalog: Catalog, read: Callable[[Path], Config] = read_config
) -> Iterator[tuple[CatalogEntry, Config]]:
    """Yield the catalog entry and config of each name and of its members, once each.

    Args:
        read: returns the config of a path; with a cache, several passes see the same content.

    Raises:
        TaskError: see `read_config`.
    """
    waiting, seen = list(names), set()
    while waiting:
        entry = catalog.get(waiting.pop())
        if entry is None or entry.name in seen:
            continue
        seen.add(entry.name)
        if entry.path is None:
            waiting += entry.tags
            continue
        config = read(Path(entry.path))
        yield entry, config
        if entry.kind == "GROUP":
            waiting += members(config.content.get("task"))


def members(listed: Any) -> Iterator[str]:
    """Yield the names in a group's list of members, and in the groups within it."""
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from (item[key] for key in ("task", "group") if isinstance(item.get(key), str))
            yield from members(item.get("task"))


def digest_of(configs: Iterable[Config]) -> str:
    """Return a hash of these files, and of the Python files beside those that use code.

    Content is hashed and not time stamps: two writes within a file system's clock tick differ.
    """
    seen: dict[Path, str] = {}
    for config in configs:
        for file in config.files:
            seen[file.path] = file.sha256
            if file.code or "class" in config.content:
                seen.update(_modules(file.path.parent))
    listed = "".join(f"{path}\0{sha256}\0" for path, sha256 in sorted(seen.items()))
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()


def _modules(folder: Path) -> dict[Path, str]:
    """Return the Python files that code of this folder may use, with their hashes."""
    found: dict[Path, str] = {}
    for path in folder.rglob("*.py"):
        if len(found) >= MOST_MODULES:
            break
        try:
            found[path] = hashlib.sha256(read_regular_file(path, MOST_MODULE_BYTES)).hexdigest()
        except (OSError, ValueError):
            found[path] = "cannot be read"
    return found
