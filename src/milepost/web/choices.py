"""Choices of a reader among the names in the results, and the name that an address gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from milepost.report.blocks import Field, Option
from milepost.text.language import Phrase, _
from milepost.text.safe_text import printable
from milepost.types.metrics import Measurement
from milepost.web.page import NotThere

MOST_NAMED = 12
"""Names that an error lists."""


def chosen(given: str, there: Sequence[str], what: str, default: str = "") -> str:
    """Return the name that an address gives, or the default.

    Args:
        what: what is named, for the error.

    Raises:
        NotThere: the results have no such name.
    """
    value = given or default
    if value not in there:
        raise NotThere(
            Phrase("no {what} {name}", what=what, name=value[:80]),
            Phrase("there are: {names}", names=", ".join(list(filter(None, there))[:MOST_NAMED])),
        )
    return value


def options(names: Iterable[str]) -> tuple[Option, ...]:
    """Return an option per name."""
    return tuple(Option(name, printable(name)) for name in names)


def one_of(name: str, label: str, names: Iterable[str], value: str) -> Field:
    """Return a choice of one name."""
    return Field(name, label, "one", options(names), (value,))


def any_of(name: str, label: str, names: Iterable[str], values: Iterable[str]) -> Field:
    """Return a choice of any number of names; where none is chosen, all are meant."""
    values = tuple(values)
    return Field(name, label, "several", options(names), values, "" if values else _("all"))


def switch(name: str, label: str, words: dict[str, str], value: str) -> Field:
    """Return buttons of which one is chosen, from values to what stands on them."""
    return Field(name, label, "switch", tuple(Option(*each) for each in words.items()), (value,))


def tasks_of(name: str, every: Sequence[Measurement], values: Iterable[str]) -> Field:
    """Return a choice of tasks: groups first, then each task under its innermost group."""
    found = {each.task: each for each in every}
    listed = tuple(
        Option(task, printable(task), _("groups") if each.kind == "group" else _group(each))
        for task, each in found.items()
    )
    return Field(name, _("Tasks"), "several", listed, tuple(values))


def _group(task: Measurement) -> str:
    return printable(task.parents[-1]) if task.parents else ""
