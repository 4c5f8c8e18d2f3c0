"""Define the records of runs, plans and checkpoints as typed values, and read and write records.

`from_json` checks the type of each entry once and names the entry that is wrong; `to_json` gives what the
file holds. Records of earlier versions lack some entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from milepost.errors import ResultsError
from milepost.store.atomic_files import damaged, read_json, write_json
from milepost.store.entries import Entries, Json
from milepost.store.layout import counted_id


class JsonRecord(Protocol):
    """A value that is stored as one JSON file."""

    @classmethod
    def from_json(cls, value: Any) -> Any:
        """Check the entries of a file. Raises: ResultsError, which names the entry that is wrong."""

    def to_json(self) -> dict[str, Any]:
        """Return the entries of the file."""


Record = TypeVar("Record", bound=JsonRecord)


def read_record(kind: type[Record], path: Path) -> Record:
    """Read and check the record at `path`.

    Raises:
        ResultsError: it is missing, damaged, or an entry is not what it should be.
    """
    value = read_json(path)
    try:
        record: Record = kind.from_json(value)
    except ResultsError as error:
        raise damaged(path, error) from error
    return record


def read_if_intact(kind: type[Record], path: Path) -> Record | None:
    """Return the record at `path`; None where it is missing or damaged."""
    try:
        return read_record(kind, path)
    except ResultsError:
        return None


def write_record(path: Path, record: JsonRecord) -> None:
    """Write a record atomically.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_json(path, record.to_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One plan of one command: what was asked of which checkpoints, and with what."""

    plan_id: str
    series: tuple[str, ...]
    checkpoints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Series to the names of its checkpoints; records of the first versions name only the series."""
    n_records: int = 1
    """Records of the same command: one for each plan that its checkpoints need."""
    command: str | None = None
    config: Json | None = None
    """The options of the command; see `run.config.EvalConfig.from_json`."""
    sources: tuple[str, ...] = ()
    dtype: str | None = None
    device: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    time: float | None = None
    """Seconds since 1970."""

    @classmethod
    def from_json(cls, value: Any) -> RunRecord:
        """Check a record. Raises: ResultsError, which names the entry that is wrong."""
        entries = Entries(value)
        asked = Entries(entries.get("checkpoints", dict, default={}), "checkpoints")
        return cls(
            plan_id=entries.get("plan_id", str),
            series=entries.texts("series"),
            checkpoints={series: asked.texts(series) for series in value.get("checkpoints", ())},
            n_records=entries.get("n_records", int, default=1),
            command=entries.get("command", str, NoneType, default=None),
            config=entries.get("config", dict, NoneType, default=None),
            sources=entries.texts("sources", default=[]),
            dtype=entries.get("dtype", str, NoneType, default=None),
            device=entries.get("device", str, NoneType, default=None),
            versions=entries.get("versions", dict, default={}),
            time=entries.get("time", float, NoneType, default=None),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entries of the file; those that are not known are left out."""
        known = {
            "time": self.time,
            "plan_id": self.plan_id,
            "series": list(self.series),
            "checkpoints": {series: list(names) for series, names in self.checkpoints.items()} or None,
            "n_records": self.n_records,
            "command": self.command,
            "config": self.config,
            "sources": list(self.sources),
            "dtype": self.dtype,
            "device": self.device,
            "versions": dict(self.versions),
        }
        return {name: value for name, value in known.items() if value is not None}

    def asks(self, series: str, checkpoint: str) -> bool:
        """Return whether the command asked for this checkpoint."""
        return series in self.series and checkpoint in self.checkpoints.get(series, (checkpoint,))


class ShardRecord(NamedTuple):
    """Requests `first` to `last` (exclusive) of a task, which are scored and stored together."""

    shard_id: str
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """One task of a plan."""

    name: str
    task_id: str
    docs_id: str
    """Name of the record of its docs; in the first versions the `task_id`."""
    asked_id: str | None = None
    counting_id: str | None = None
    """None in the first versions."""
    n_docs: int
    n_requests: int = 0
    n_truncated: int = 0
    n_tokens: int = 0
    shards: tuple[ShardRecord, ...] = ()

    @property
    def counted_id(self) -> str:
        """Name of the records of its metrics per doc: which docs, and how they are counted."""
        return counted_id(self.task_id, self.counting_id)

    @classmethod
    def from_entries(cls, entries: Entries) -> PlannedTask:
        task_id = entries.get("task_id", str)
        return cls(
            name=entries.get("name", str),
            task_id=task_id,
            docs_id=entries.get("docs_id", str, default=task_id),
            asked_id=entries.get("asked_id", str, NoneType, default=None),
            counting_id=entries.get("counting_id", str, NoneType, default=None),
            n_docs=entries.get("n_docs", int),
            n_requests=entries.get("n_requests", int, default=0),
            n_truncated=entries.get("n_truncated", int, default=0),
            n_tokens=entries.get("n_tokens", int, default=0),
            shards=tuple(_shard(shard) for shard in entries.get("shards", list, default=[])),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entries of the task in the file of its plan."""
        return {
            "name": self.name,
            "task_id": self.task_id,
            "asked_id": self.asked_id,
            "docs_id": self.docs_id,
            "counting_id": self.counting_id,
            "n_docs": self.n_docs,
            "n_requests": self.n_requests,
            "n_truncated": self.n_truncated,
            "n_tokens": self.n_tokens,
            "shards": [list(shard) for shard in self.shards],
        }


def _shard(value: Any) -> ShardRecord:
    if not isinstance(value, list) or list(map(type, value)) != [str, int, int]:
        raise ResultsError("an entry of `shards` is not a name and two whole numbers")
    return ShardRecord(*value)


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """The tasks that were asked, their shards, and everything that decides their prompts and metrics."""

    plan_id: str
    tokenizer_id: str = ""
    max_length: int = 0
    """Tokens of the model's context."""
    settings: Json
    """`asked` (the options), `tasks` (what the harness says of each), `counting` (metrics, filters, groups),
    `versions` and more; see `run.planning`."""
    tasks: tuple[PlannedTask, ...]

    @classmethod
    def from_json(cls, value: Any) -> PlanRecord:
        """Check a record. Raises: ResultsError, which names the entry that is wrong."""
        entries = Entries(value)
        return cls(
            plan_id=entries.get("plan_id", str),
            tokenizer_id=entries.get("tokenizer_id", str, default=""),
            max_length=entries.get("max_length", int, default=0),
            settings=entries.get("settings", dict),
            tasks=tuple(PlannedTask.from_entries(task) for task in entries.objects("tasks")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entries of the file."""
        return {
            "plan_id": self.plan_id,
            "tokenizer_id": self.tokenizer_id,
            "max_length": self.max_length,
            "settings": dict(self.settings),
            "tasks": [task.to_json() for task in self.tasks],
        }

    @cached_property
    def by_name(self) -> dict[str, PlannedTask]:
        """The tasks by their names."""
        return {task.name: task for task in self.tasks}

    def task(self, name: str) -> PlannedTask:
        """Return the task of that name. Raises: ResultsError if the plan has none."""
        if name not in self.by_name:
            raise ResultsError(
                f"the plan {self.plan_id} has no task {name}", "`milepost verify RESULTS` checks every record"
            )
        return self.by_name[name]

    @property
    def asked(self) -> Json:
        """The options with which the tasks were asked; see `tasks.settings.TaskSettings`."""
        return cast("Json", self.settings.get("asked", {}))

    @property
    def described(self) -> Mapping[str, Json]:
        """Task to what the harness says of it: `version`, `num_fewshot`, `output_type`, `parents` ..."""
        return cast("Mapping[str, Json]", self.settings.get("tasks", {}))

    @property
    def shard_ids(self) -> list[str]:
        return [shard.shard_id for task in self.tasks for shard in task.shards]

    def members(self, group: str) -> tuple[str, ...]:
        """Return the tasks that a group sums up."""
        return tuple(name for name, task in self.described.items() if group in task.get("parents", ()))

    @property
    def groups(self) -> Mapping[str, Json]:
        """Group to how it is aggregated; empty in the first versions."""
        return cast("Mapping[str, Json]", self.settings.get("counting", {}).get("groups", {}))

    def weighs_by_size(self, group: str, metric: str) -> bool:
        """Return whether a group's metric counts every doc alike, and not every task.

        Source: lm_eval/api/group.py, `AggMetricConfig`.
        """
        listed = self.groups.get(group, {}).get("aggregate_metric_list") or []
        return next((bool(entry["weight_by_size"]) for entry in listed if entry["metric"] == metric), True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRecord:
    """The model that a checkpoint's name stood for at the last visit."""

    series: str
    name: str
    step: int | None
    source: str | None = None
    """Address of the weights at that visit."""
    format: str | None = None
    model_id: str | None = None
    """None where the checkpoint could not be used."""
    numerics: str | None = None
    engine: str | None = None
    """The engine that scored it last; with it the next four."""
    fallback: str | None = None
    """Why a slower engine was used than was wanted."""
    n_parameters: int | None = None
    device: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    failure: str | None = None
    """Why the last visit failed."""

    @classmethod
    def from_json(cls, value: Any) -> CheckpointRecord:
        """Check a record. Raises: ResultsError, which names the entry that is wrong."""
        entries = Entries(value)
        texts = ("source", "format", "model_id", "numerics", "engine", "fallback", "device", "failure")
        return cls(
            series=entries.get("series", str),
            name=entries.get("checkpoint", str),
            step=entries.get("step", int, NoneType),
            n_parameters=entries.get("n_parameters", int, NoneType, default=None),
            versions=entries.get("versions", dict, default={}),
            **{name: entries.get(name, str, NoneType, default=None) for name in texts},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entries of the file."""
        entries: dict[str, Any] = {
            "series": self.series,
            "checkpoint": self.name,
            "step": self.step,
            "source": self.source,
            "format": self.format,
            "model_id": self.model_id,
        }
        if self.numerics is not None:
            entries["numerics"] = self.numerics
        if self.engine is not None:
            entries |= {
                "engine": self.engine,
                "fallback": self.fallback,
                "n_parameters": self.n_parameters,
                "device": self.device,
                "versions": dict(self.versions),
            }
        if self.failure is not None:
            entries["failure"] = self.failure
        return entries

    @property
    def full_name(self) -> str:
        """`series/checkpoint`."""
        return f"{self.series}/{self.name}"

    @property
    def model(self) -> tuple[str, str]:
        """Model id and numerics, which name the records of its answers; empty where it stands for none."""
        return self.model_id or "", self.numerics or ""
