"""Label the settings of several models alike, so that a task is compared with itself in the same settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from milepost.types.answers import GroupAnswers, ModelAnswers, TaskAnswers
from milepost.types.metrics import Asked, Measurement
from milepost.types.variants import variant_labels

Measured = TypeVar("Measured", bound=Measurement)
Answers = TypeVar("Answers", TaskAnswers, GroupAnswers)


class CommonLabels:
    """The variants of every task over several models.

    A variant names what differs inside a model, so a task that every model has once has none, even if the
    models were asked in different settings.

    Args:
        models: the metrics of each.
    """

    def __init__(self, models: Iterable[Iterable[Measurement]]) -> None:
        of_models = [list(model) for model in models]
        self._in_several_dtypes = {
            each.task for model in of_models for each in model if each.asked.dtype is not None
        }
        groups: dict[str, dict[int, dict[Asked, None]]] = {}
        for place, model in enumerate(of_models):
            for each in model:
                groups.setdefault(each.task, {}).setdefault(place, {})[self._asked(each)] = None
        self._labels = {task: variant_labels(own.values()) for task, own in groups.items()}

    def labelled(self, measured: Measured) -> Measured:
        """Return a metric of one of the models with its variant among all of them."""
        variant = self._labels[measured.task][self._asked(measured)]
        return measured if variant == measured.variant else dataclasses.replace(measured, variant=variant)

    def _asked(self, measured: Measurement) -> Asked:
        if measured.task not in self._in_several_dtypes:
            return measured.asked
        return measured.asked._replace(dtype=measured.dtype)


def with_labels(model: ModelAnswers, labels: CommonLabels) -> ModelAnswers:
    """Return the answers with the labels of all models that they are compared with."""
    return dataclasses.replace(
        model, tasks=_by_label(model.tasks, labels), groups=_by_label(model.groups, labels)
    )


def with_common_labels(models: Sequence[ModelAnswers]) -> list[ModelAnswers]:
    """Return the models with labels in common."""
    labels = CommonLabels(model.measurements for model in models)
    return [with_labels(model, labels) for model in models]


def _by_label(parts: Mapping[str, Answers], labels: CommonLabels) -> dict[str, Answers]:
    found = {}
    for part in parts.values():
        measurements = tuple(map(labels.labelled, part.measurements))
        own = dataclasses.replace(part, measurements=measurements)
        found[measurements[0].label] = part if measurements == part.measurements else own
    return found
