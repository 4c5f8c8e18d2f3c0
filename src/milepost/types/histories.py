"""Values and picks of the docs of one task through a series of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class TaskDocs(NamedTuple):
    """The docs' values of one task at S checkpoints."""

    values: list[Any]
    """[S] of [D]: an array of numbers, or a list of the values that lm_eval aggregates; None for docs that do
    not count."""
    weight: float
    """Weight of each doc in its group; 1 for a task alone."""


class ScoredShard(NamedTuple):
    """A shard as one model scored it."""

    model_id: str
    numerics: str
    shard_id: str


class TextMetric(NamedTuple):
    """The metric by which texts that a model wrote count as right."""

    metric: str
    filter: str
    files: tuple[Path, ...]
    """[S] tables with the metric and the text of each doc, by checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickHistory:
    """The picks of one task over a series, or the texts written: S checkpoints by step, D docs."""

    series: str
    task: str
    """As it was asked: the name, with the variant where there are several."""
    docs_id: str
    """Name of the records of its docs and choices."""
    checkpoints: tuple[str, ...]
    """[S] names."""
    steps: tuple[int | None, ...]
    """[S] steps."""
    doc_id: npt.NDArray[np.int64]
    """[D] positions in the evaluation split."""
    pick: npt.NDArray[np.int16]
    """[S, D] position of the choice with the highest log-likelihood; -1 for a text."""
    right: npt.NDArray[np.bool_]
    """[S, D] True if that choice, or the text, is right."""
    margin: npt.NDArray[np.float32]
    """[S, D] log-likelihood of the best right choice minus the best wrong one, nats; of a text the value of
    its metric."""
    scores: tuple[tuple[ScoredShard, ...], ...] = ()
    """[S] what has the log-likelihoods of all requests, in order; nothing where it holds token ids."""
    text: TextMetric | None = None
    """None where the task offers choices."""
