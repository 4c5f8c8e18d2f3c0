"""The answers of a model to tasks, doc by doc, as the store reads them and `analysis` compares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.types.metrics import Measurement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class DocAnswer:
    """A doc and a model's answer to it, for people."""

    doc_id: int
    arguments: tuple[tuple[Any, ...], ...]
    """Per request: the context and what was asked for (a continuation, or how to generate)."""
    target: str
    answers: tuple[Any, ...]
    """Per request, filtered: a log-likelihood with its greedy flag, or a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnswers:
    """The answers of a model to one task: D docs, with their values in each metric."""

    name: str
    task_id: str
    docs_id: str
    """Name of the record of its docs."""
    counted_id: str
    """Name of the record of its docs' values."""
    numerics: str
    version: str
    num_fewshot: int | None
    measurements: tuple[Measurement, ...]
    """The task's metrics, in the order in which it lists them."""
    doc_ids: npt.NDArray[np.int64]
    """[D] positions in the split, in its order."""
    hashes: Callable[[], Sequence[str]]
    """Reads [D] what tells the docs apart, as few comparisons need it: lm_eval's hashes; for texts with the
    hash of the text, because several windows can share a doc."""
    prompt_hashes: Callable[[], Sequence[str]]
    """Reads [D] lm_eval's hash of each doc's prompt."""
    generation: Mapping[str, Any]
    """Generation settings (`generation_kwargs`); empty without generation."""
    values: Mapping[tuple[str, str], Sequence[Any]]
    """(metric, filter) to [D] values, as `columns.DocMetrics` gives them; empty if the model gave no
    numbers."""
    texts: Callable[[str, Sequence[int]], list[DocAnswer]]
    """Reads some docs with the model's answers under a filter, in the order of their doc ids."""

    @property
    def n_docs(self) -> int:
        return len(self.doc_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAnswers:
    """The metrics of a group, a weighted mean over its tasks."""

    name: str
    measurements: tuple[Measurement, ...]
    tasks: tuple[str, ...]
    by_size: Mapping[str, bool]
    """Metric to True if tasks are weighted by their docs; else all tasks count the same."""
    members: Mapping[str, TaskAnswers] = field(default_factory=dict)
    """By the names of its tasks: their answers behind the group's metrics."""

    def weighs_by_size(self, metric: str) -> bool:
        """Return whether tasks are weighted by their number of docs; else all tasks count the same."""
        return self.by_size.get(metric, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswers:
    """All answers of one checkpoint in a results folder."""

    results: Path
    series: str
    checkpoint: str
    step: int | None
    source: str
    """Address of the weights at the last visit."""
    model_id: str
    numerics: str
    tokenizer_ids: frozenset[str]
    tasks: Mapping[str, TaskAnswers]
    """By the task as it was asked; see `Measurement.label`."""
    groups: Mapping[str, GroupAnswers]
    """By the group as it was asked."""

    @property
    def measurements(self) -> list[Measurement]:
        """All metrics, groups before tasks."""
        parts: list[GroupAnswers | TaskAnswers] = [*self.groups.values(), *self.tasks.values()]
        return [measured for part in parts for measured in part.measurements]
