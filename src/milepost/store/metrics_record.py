"""Define the record of a checkpoint's metrics under one plan as a typed value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from milepost.errors import ResultsError
from milepost.store.json_codec import decode, stored_as_list
from milepost.store.records import CheckpointRecord, Json
from milepost.types.metrics import AS_USUAL, Asked, Estimate, Measurement, MissingMetric
from milepost.types.picks import PickCounts

stored_as_list(Estimate)  # thousands of them are in a record


class MetricRow(NamedTuple):
    """A metric of a task or group; meanings as in `types.metrics.Measurement`."""

    task: str
    metric: str
    filter: str
    value: float | None
    stderr: float | None
    n: int
    chance: float | None
    higher_is_better: bool | None
    kind: Literal["task", "group"]
    alias: str
    parents: tuple[str, ...]
    num_fewshot: int | None
    setting: str
    """Name for how the task was asked and counted: values with another name cannot be compared."""
    doc_range: tuple[float, float] | None = None
    reason: str | None = None
    constant: tuple[float, float] | None = None
    fixed_choices: bool = False

    def with_band(self, band: tuple[float, float], *, fixed: bool) -> MetricRow:
        """Return the row with the range of a constant answer's accuracies."""
        return MetricRow._make((*self[:-2], band, fixed))

    def measurement(
        self, checkpoint: CheckpointRecord, asked: Asked = AS_USUAL, variant: str = ""
    ) -> Measurement:
        """Return the metric as that of a checkpoint, asked with these settings."""
        own = self._asdict()
        del own["setting"]
        return Measurement(
            series=checkpoint.series,
            checkpoint=checkpoint.name,
            step=checkpoint.step,
            dtype=checkpoint.dtype,
            asked=asked,
            variant=variant,
            **own,
        )


def metric_row(entries: Json, setting: str) -> MetricRow:
    """Return a row from what a source of questions computed; see `tasks.question_source.Evaluation.rows`."""
    return MetricRow(**{**entries, "parents": tuple(entries["parents"]), "setting": setting})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceMetrics:
    """Metrics of multiple-choice tasks that lm_eval does not give, and what was picked."""

    higher_is_better: Mapping[str, bool | None] = field(default_factory=dict)
    """By metric."""
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By task or group, then metric: the entries of an `Estimate`, which `estimates` checks."""
    picks: Mapping[str, Json] = field(default_factory=dict)
    """By task or group: the entries of a `PickCounts`, which `counts` checks."""

    def counts(self, task: str) -> PickCounts | None:
        """Return what was picked on a task or group; None where it offers no choices, or the model gave NaN.

        Raises:
            ResultsError: an entry is of another type.
        """
        return decode(PickCounts, self.picks[task]) if task in self.picks else None

    def band(self, task: str) -> tuple[float, float] | None:
        """Return the range of a constant answer's accuracies. None and errors as of `counts`."""
        constant = self.picks[task].get("constant") if task in self.picks else None
        if constant and not (isinstance(constant, list) and {int, float}.issuperset(map(type, constant))):
            raise ResultsError("`constant` in one of its `picks` is not a list of numbers")
        return (min(constant), max(constant)) if constant else None

    def estimates(self, task: str, metrics: Collection[str]) -> list[tuple[str, Estimate]]:
        """Return those of the metrics that a task or group has, in the order of the record.

        Raises:
            ResultsError: one is not a value with its standard error, number of docs and chance level.
        """
        return [
            (metric, decode(Estimate, entry))
            for metric, entry in self.figures.get(task, {}).items()
            if metric in metrics
        ]


@dataclass(frozen=True, kw_only=True)
class MetricsRecord:
    """The metrics of one model under one plan."""

    rows: tuple[MetricRow, ...]
    choices: ChoiceMetrics | None = None
    """None in records of versions that did not compute them."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Task without metrics to its number of requests without an answer; 0 where code raised an exception."""
    reasons: tuple[MissingMetric, ...] = ()
    lm_eval: Json = field(default_factory=dict)
    """The parts of lm_eval's results file that differ between checkpoints."""

    @cached_property
    def of_task(self) -> dict[str, tuple[MetricRow, ...]]:
        """Rows by task or group, in their order."""
        found: dict[str, list[MetricRow]] = {}
        for row in self.rows:
            found.setdefault(row.task, []).append(row)
        return {task: tuple(rows) for task, rows in found.items()}

    @property
    def settings(self) -> dict[str, str]:
        """Task or group to the setting of its metrics."""
        return {task: rows[0].setting for task, rows in self.of_task.items()}
