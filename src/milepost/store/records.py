"""Define the records of runs, plans and checkpoints as typed values, and read and write records.

The fields of a class are the entries of its file: a new field needs a default, which records of earlier
versions get.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from milepost.errors import ResultsError
from milepost.store.atomic_files import damaged, read_json, write_json
from milepost.store.json_codec import decode, encode, stored_as_list
from milepost.store.layout import counted_id
from milepost.text.language import Phrase

Json = Mapping[str, Any]
"""An object of JSON whose entries are not known here."""
Record = TypeVar("Record")
"""A dataclass that is stored as one JSON file."""


def read_record(kind: type[Record], path: Path) -> Record:
    """Read the record at `path` and check the types of its entries.

    Raises:
        ResultsError: it is missing or damaged, or an entry is missing or of another type.
    """
    value = read_json(path)
    try:
        return decode(kind, value)
    except ResultsError as error:
        raise damaged(path, error) from error


def read_if_intact(kind: type[Record], path: Path) -> Record | None:
    """Return the record at `path`; None where it is missing or damaged."""
    try:
        return read_record(kind, path)
    except ResultsError:
        return None


def write_record(path: Path, record: Any) -> None:
    """Write a record atomically.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_json(path, encode(record))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A plan of a command: the questions, the checkpoints and the software of one run."""

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


@stored_as_list
class ShardRecord(NamedTuple):
    """Requests `first` to `last` (exclusive) of a task, which are scored and stored together."""

    shard_id: str
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """A task of a plan."""

    name: str
    task_id: str
    docs_id: str = ""
    """Name of the record of its docs; in the first versions the `task_id`."""
    asked_id: str | None = None
    counting_id: str | None = None
    """None in the first versions."""
    n_docs: int
    n_requests: int = 0
    n_truncated: int = 0
    n_tokens: int = 0
    shards: tuple[ShardRecord, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "docs_id", self.docs_id or self.task_id)

    @property
    def counted_id(self) -> str:
        """Name of the records of its metrics per doc: which docs, and how they are counted."""
        return counted_id(self.task_id, self.counting_id)


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

    @cached_property
    def by_name(self) -> dict[str, PlannedTask]:
        """The tasks by their names."""
        return {task.name: task for task in self.tasks}

    def task(self, name: str) -> PlannedTask:
        """Return the task of that name. Raises: ResultsError if the plan has none."""
        if name not in self.by_name:
            raise ResultsError(
                Phrase("the plan {plan_id} has no task {name}", plan_id=self.plan_id, name=name),
                "`milepost verify RESULTS` checks every record",
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
    name: str = field(metadata={"json": "checkpoint"})
    step: int | None
    source: str | None = None
    """Address of the weights at that visit."""
    format: str | None = None
    model_id: str | None = None
    """None where the checkpoint could not be used."""
    numerics: str | None = None
    engine: str | None = None
    """The engine that scored it last; with it the next seven."""
    fallback: str | None = None
    """Reason for a slower engine than the wanted one."""
    n_parameters: int | None = None
    device: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    scoring_s: float | None = None
    """Seconds that scoring took, of all processes together."""
    peak_memory: int | None = None
    """Bytes of main memory that the process which scored it needed at most, until it was done."""
    peak_gpu_memory: int | None = None
    """The same of the GPU."""
    failure: str | None = None
    """Reason why the last visit failed."""

    @property
    def full_name(self) -> str:
        """`series/checkpoint`."""
        return f"{self.series}/{self.name}"

    @property
    def dtype(self) -> str | None:
        """The dtype of its numerics: `float32` of `float32-v1`."""
        return (self.numerics or "").partition("-")[0] or None

    @property
    def model(self) -> tuple[str, str]:
        """Model id and numerics, which name the records of its answers; empty where it stands for none."""
        return self.model_id or "", self.numerics or ""
