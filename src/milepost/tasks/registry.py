"""The question sources that exist; a source imports its library only when a run uses it."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from milepost.errors import NothingLeftError

if TYPE_CHECKING:
    from milepost.tasks.question_source import ModelTraits, QuestionSet, QuestionSource
    from milepost.tasks.settings import TaskSettings

SOURCES = {"lm_eval": "milepost.tasks.lm_eval.source", "helm": "milepost.tasks.helm.source"}
"""Name of each source to the module that has it as `SOURCE`, in the order of a plan's tasks."""

logger = logging.getLogger("milepost.tasks")


def source_named(name: str) -> QuestionSource:
    """Return the source with this name.

    Raises:
        KeyError: there is no such source.
    """
    source: QuestionSource = importlib.import_module(SOURCES[name]).SOURCE
    return source


def used_sources(settings: TaskSettings) -> Iterator[QuestionSource]:
    """Yield the sources that `settings` name tasks of."""
    for name in SOURCES:
        if (source := source_named(name)).is_used(settings):
            yield source


def check_settings(settings: TaskSettings) -> str:
    """Check all tasks before any work; returns what `digest_of` returns for them once they are loaded.

    Raises:
        TaskError: a task is unknown, or its definition is wrong.
    """
    return "+".join(source.check(settings) for source in used_sources(settings))


def load_sources(settings: TaskSettings, models: ModelTraits) -> dict[str, QuestionSet]:
    """Load the tasks of each source that `settings` use, by its name.

    A source whose tasks are all left out, for want of data, is left out where there is another one.

    Raises:
        TaskError: as `check_settings`, or data are missing.
    """
    loaded: dict[str, QuestionSet] = {}
    sources = list(used_sources(settings))
    for source in sources:
        try:
            loaded[source.name] = source.load(settings, models)
        except NothingLeftError as error:
            if len(sources) == 1:
                raise
            logger.warning("left out: %s", error.message)
    return loaded


def digest_of(loaded: Iterable[QuestionSet]) -> str:
    """Return a hash of the definitions of all loaded tasks."""
    return "+".join(questions.digest() for questions in loaded)


def source_of(description: Mapping[str, Any]) -> str:
    """Return the source of a task from its entry in a `Description`; lm_eval's entries name none."""
    name: str = description.get("source", "lm_eval")
    return name
