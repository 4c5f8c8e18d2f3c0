"""Define the record of a checkpoint's metrics under one plan as a typed value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import NoneType
from typing import Any, Literal, NamedTuple

from milepost.errors import ResultsError
from milepost.store.entries import Entries, Json
from milepost.store.records import CheckpointRecord
from milepost.types import Estimate, Measurement, PickCounts


class MetricRow(NamedTuple):
    """One metric of a task or group; meanings as in `types.Measurement`."""

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

    @classmethod
    def from_json(cls, value: Any) -> MetricRow:
        """Check one row. Raises: ResultsError, which names the entry that is wrong."""
        if not isinstance(value, dict):
            raise ResultsError("an entry of `rows` is not an object")
        row = cls._make(map(value.get, cls._fields))
        for name, entry, kinds in zip(cls._fields, row, _ROW_KINDS, strict=True):
            if type(entry) not in kinds:
                raise ResultsError(f"`{name}` in one of its `rows` is missing or of another type")
        return row._replace(
            parents=tuple(row.parents or ()),
            doc_range=_pair(row.doc_range),
            constant=_pair(row.constant),
            fixed_choices=bool(row.fixed_choices),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entries of the row in the file."""
        entries = self._asdict() | {"parents": list(self.parents)}
        optional = self._field_defaults
        return {name: value for name, value in entries.items() if value or name not in optional}

    def measurement(self, checkpoint: CheckpointRecord) -> Measurement:
        """Return the metric as that of a checkpoint."""
        return Measurement(
            series=checkpoint.series,
            checkpoint=checkpoint.name,
            step=checkpoint.step,
            task=self.task,
            metric=self.metric,
            filter=self.filter,
            value=self.value,
            stderr=self.stderr,
            n=self.n,
            chance=self.chance,
            higher_is_better=self.higher_is_better,
            kind=self.kind,
            alias=self.alias,
            parents=self.parents,
            num_fewshot=self.num_fewshot,
            constant=self.constant,
            fixed_choices=self.fixed_choices,
            reason=self.reason,
            doc_range=self.doc_range,
            dtype=(checkpoint.numerics or "").partition("-")[0] or None,
        )


_TEXT: set[type] = {str}
_NUMBER: set[type] = {int, float, NoneType}
_FLAG: set[type] = {bool, NoneType}
_PAIR: set[type] = {list, tuple, NoneType}
_COUNT: set[type] = {int, NoneType}
_ROW_KINDS: tuple[set[type], ...] = (
    *(_TEXT, _TEXT, _TEXT, _NUMBER, _NUMBER, _COUNT, _NUMBER, _FLAG, _TEXT, _TEXT),
    *(_PAIR, _COUNT, _TEXT, _PAIR, _TEXT | _COUNT, _PAIR, _FLAG),
)
"""Types of the fields of `MetricRow`, in their order."""


def _pair(value: Any) -> tuple[float, float] | None:
    if not value:
        return None
    if len(value) != 2 or not all(isinstance(end, int | float) for end in value):
        raise ResultsError("a range in one of its `rows` is not two numbers")
    return value[0], value[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceMetrics:
    """Metrics of multiple-choice tasks that lm_eval does not give, and what was picked."""

    higher_is_better: Mapping[str, bool | None]
    """By metric."""
    figures: Mapping[str, Mapping[str, Any]]
    """By task or group, then metric: the entries of an `Estimate`, which `estimate` checks."""
    picks: Mapping[str, PickCounts]
    """By task or group."""

    @classmethod
    def from_entries(cls, entries: Entries) -> ChoiceMetrics:
        picks = entries.get("picks", dict, default={})
        figures = Entries(entries.get("figures", dict, default={}), "choices")
        return cls(
            higher_is_better=entries.get("higher_is_better", dict, default={}),
            figures={task: figures.get(task, dict) for task in figures},
            picks={task: _pick_counts(counts) for task, counts in picks.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entries in the file of metrics."""
        return {
            "higher_is_better": dict(self.higher_is_better),
            "figures": {task: {m: list(of[m]) for m in of} for task, of in self.figures.items()},
            "picks": {task: counts._asdict() for task, counts in self.picks.items()},
        }

    def estimates(self, task: str, metrics: Collection[str]) -> list[tuple[str, Estimate]]:
        """Return those of the metrics that a task or group has, in the order of the record.

        Raises:
            ResultsError: one is not a value with its standard error, number of docs and chance level.
        """
        found = []
        for metric, entry in self.figures.get(task, {}).items():
            if metric in metrics:
                if len(entry) != len(Estimate._fields) or any(type(e) not in _NUMBER for e in entry):
                    raise ResultsError(f"`{metric}` of {task} in its `choices` is not four numbers")
                found.append((metric, Estimate(*entry)))
        return found


def _pick_counts(value: Any) -> PickCounts:
    try:
        return PickCounts(**value)
    except TypeError as error:
        raise ResultsError("an entry of its `picks` is not counts of picks") from error


class MissingMetric(NamedTuple):
    """The reason why a metric could not be computed."""

    task: str
    """Task or group."""
    metric: str | None
    """None for all metrics."""
    filter: str | None
    """None for all filters."""
    reason: str
    kind: str
    """`raised` (an exception: another try may succeed), `number` (NaN or too large) or `expected`."""


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

    @classmethod
    def from_json(cls, value: Any) -> MetricsRecord:
        """Check a record. Raises: ResultsError, which names the entry that is wrong."""
        entries = Entries(value)
        choices = entries.get("choices", dict, NoneType, default=None)
        return cls(
            rows=tuple(map(MetricRow.from_json, entries.get("rows", list))),
            choices=None if choices is None else ChoiceMetrics.from_entries(Entries(choices, "choices")),
            missing=entries.get("missing", dict, default={}),
            reasons=tuple(map(_missing_metric, entries.objects("reasons", default=[]))),
            lm_eval=entries.get("lm_eval", dict, default={}),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entries of the file."""
        entries: dict[str, Any] = {"rows": [row.to_json() for row in self.rows]}
        if self.choices is not None:
            entries["choices"] = self.choices.to_json()
        return entries | {
            "missing": dict(self.missing),
            "reasons": [reason._asdict() for reason in self.reasons],
            "lm_eval": dict(self.lm_eval),
        }


def _missing_metric(entries: Entries) -> MissingMetric:
    return MissingMetric(
        task=entries.get("task", str),
        metric=entries.get("metric", str, NoneType),
        filter=entries.get("filter", str, NoneType),
        reason=entries.get("reason", str),
        kind=entries.get("kind", str),
    )
