"""Leave out a task whose data cannot be had, and keep what else was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from milepost.tasks.lm_eval.catalog import CatalogEntry
from milepost.tasks.lm_eval.checks import CheckedTasks
from milepost.tasks.lm_eval.fields import GROUP_FIELDS
from milepost.tasks.lm_eval.task_files import members


class LeftOut(NamedTuple):
    """Names that remain without a task, and those that do not."""

    names: tuple[str, ...]
    """Names to load: in place of a group or tag that contains the task, its other members."""
    dropped: tuple[str, ...]
    """Names that are left out: the task, and groups whose members cannot be named without them."""
    groups: tuple[str, ...]
    """Groups whose other members remain, without a mean."""


def leave_out(checked: CheckedTasks, task: str) -> LeftOut:
    """Return what remains of the checked names without a task.

    A mean over a group's other tasks would look like the group's own, so it is not loaded as a group. Members
    of a group that changes their settings would be other tasks by themselves: it is left out as a whole.
    """
    names: dict[str, None] = {}
    dropped: dict[str, None] = {}
    groups: dict[str, None] = {}

    def keep(name: str) -> None:
        if not _contains(checked, name, task):
            names[name] = None
            return
        entry = checked.catalog.get(name)
        if entry is None or name == task or _changes_members(checked, entry):
            dropped[name] = None
            return
        if entry.kind == "GROUP":
            groups[name] = None
        for member in _members(checked, entry):
            keep(member)

    for name in checked.names:
        keep(name)
    return LeftOut(tuple(names), tuple(dropped), tuple(groups))


def _contains(checked: CheckedTasks, name: str, task: str) -> bool:
    entry = checked.catalog.get(name)
    if name == task or entry is None:
        return name == task
    return any(_contains(checked, member, task) for member in _members(checked, entry))


def _members(checked: CheckedTasks, entry: CatalogEntry) -> Iterator[str]:
    if entry.path is None:
        yield from entry.tags
    elif entry.kind == "GROUP":
        yield from members(checked.configs[entry.path].content.get("task"))


def _changes_members(checked: CheckedTasks, entry: CatalogEntry) -> bool:
    if entry.path is None:
        return False
    content = checked.configs[entry.path].content
    listed = content.get("task")
    has_only_names = isinstance(listed, list) and all(isinstance(item, str) for item in listed)
    return not has_only_names or any(key not in GROUP_FIELDS for key in content)
