"""Compute metrics of multiple-choice tasks beyond lm_eval's from the same log-likelihoods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from milepost.analysis.choice_metrics import HIGHER_IS_BETTER, free_metrics, pick_metrics
from milepost.analysis.choice_values import DocMetrics, doc_metrics
from milepost.analysis.constant_answer import count_picks
from milepost.plan.offered_choices import requests_of_choices
from milepost.plan.plan import TaskPlan
from milepost.store.metrics_record import ChoiceMetrics
from milepost.store.picks import PICK_COLUMNS, write_picks
from milepost.types.metrics import Estimate
from milepost.types.picks import PickCounts

if TYPE_CHECKING:
    from pathlib import Path

    from milepost.tasks.question_source import QuestionSet

NO_METRIC = Estimate(None, None, 0, None)


@dataclass(frozen=True, slots=True)
class ComputedChoices:
    """The metrics of one checkpoint beyond lm_eval's."""

    docs: dict[str, DocMetrics]
    """By task, in the order of the plan."""
    metrics: dict[str, dict[str, Estimate]]
    """By task or group, and name of the metric."""
    picks: dict[str, PickCounts]
    """By task or group."""

    def write_docs(self, path: Path) -> None:
        """Write the metrics of each doc as one table.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        columns = {
            task: {name: getattr(docs, name) for name in PICK_COLUMNS} for task, docs in self.docs.items()
        }
        write_picks(path, {task: docs.doc_id for task, docs in self.docs.items()}, columns)

    def as_record(self, rows: list[dict[str, Any]]) -> ChoiceMetrics:
        """Return the part of the metrics record with the metrics that lm_eval's `rows` do not have."""
        known = {(row["task"], row["metric"]) for row in rows}
        return ChoiceMetrics(
            higher_is_better=HIGHER_IS_BETTER,
            figures={
                name: {metric: list(value) for metric, value in own.items() if (name, metric) not in known}
                for name, own in self.metrics.items()
            },
            picks={name: counts._asdict() for name, counts in self.picks.items()},
        )


def compute_choice_metrics(
    sources: Iterable[QuestionSet],
    tasks: tuple[TaskPlan, ...],
    loglikelihood: Mapping[str, npt.NDArray[np.float64]],
) -> ComputedChoices:
    """Compute the metrics of every multiple-choice task, and of the groups of such tasks.

    Args:
        loglikelihood: by task, [R] nats; a task with a NaN gets no metrics.
    """
    docs: dict[str, DocMetrics] = {}
    metrics: dict[str, dict[str, Estimate]] = {}
    picks: dict[str, PickCounts] = {}
    for task in tasks:
        if task.choices is None:
            continue
        logs = loglikelihood[task.name][requests_of_choices(task.choices.doc_id, task.doc_ids)]
        if np.isnan(loglikelihood[task.name]).any():
            metrics[task.name] = dict.fromkeys(HIGHER_IS_BETTER, NO_METRIC._replace(n=task.n_docs))
            continue
        docs[task.name] = doc_metrics(task.choices, logs)
        metrics[task.name] = free_metrics(task.choices, docs[task.name])
        picks[task.name] = count_picks(task.choices, docs[task.name])
    for source in sources:
        metrics |= source.group_metrics(metrics, {task.name: task.n_docs for task in tasks})
        picks |= source.group_picks(picks)
    for name, counts in picks.items():
        metrics[name] = metrics.get(name, {}) | pick_metrics(counts)
    return ComputedChoices(docs, metrics, picks)
