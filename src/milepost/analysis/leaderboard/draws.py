"""Bootstrap the columns of a leaderboard: draw the docs of each task with replacement.

All models get the same draw of a task, docs matched as where two models are compared, so that a doc that is
hard for all models changes all of them. A published metric has no docs and does not change.

Shapes: B draws, N different docs of a task over all models, D docs of one model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.analysis.doc_values import DocValues
from milepost.analysis.leaderboard.entries import BoardColumn
from milepost.analysis.matching import numbered, task_doc_values
from milepost.analysis.mean_differences import FEWEST_DOCS
from milepost.types.answers import ModelAnswers, TaskAnswers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]


DRAWN_TOGETHER = 65_536
"""Docs that are drawn at the same time, all draws together: as many as stay in a core's cache."""
EXACT = 2**24
"""Sums of whole numbers up to this size are exact in float32, in any order."""

_Leaf = tuple[int, str, str]
"""Id of the answers of a model to a task, metric and filter."""


def draw_scores(
    answers: Sequence[ModelAnswers], columns: Sequence[BoardColumn], *, n_draws: int, seed: int
) -> dict[tuple[int, BoardColumn], Scores]:
    """Return [B] values of each model (by number) and column whose metric is a mean over docs.

    All are NaN with too few docs: fewer than `FEWEST_DOCS`, or a task of a single doc, which is the same in
    every draw.
    """
    import numpy as np

    leaves = _draw_leaves(answers, columns, n_draws, seed)
    drawn: dict[tuple[int, BoardColumn], Scores] = {}
    for number, model in enumerate(answers):
        for column in columns:
            scores = _of_column(model, column, leaves)
            if scores is not None:
                drawn[number, column] = np.full(n_draws, np.nan) if _too_few(model, column) else scores
    return drawn


def _draw_leaves(
    answers: Sequence[ModelAnswers], columns: Sequence[BoardColumn], n_draws: int, seed: int
) -> dict[_Leaf, Scores | None]:
    """Return [B] values of all answers behind the columns; None for a metric that is no mean over docs."""
    tasks: dict[str, dict[_Leaf, TaskAnswers]] = {}
    for model in answers:
        for column in columns:
            for name, own in _tasks_of(model, column).items():
                # A task stands in several groups, often with the same answers.
                tasks.setdefault(name, {})[id(own), column.metric, column.filter] = own
    # What is drawn depends on the number of docs alone, so tasks of one size share it.
    of_size: dict[int, dict[_Leaf, _DocSums | None]] = {}
    for of_task in tasks.values():
        size, numbers = _doc_numbers(of_task.values())
        for leaf, own in of_task.items():
            values = task_doc_values(own, *leaf[1:])
            sums = None if values is None else _DocSums.of(values, numbers[own.docs_id], size)
            of_size.setdefault(size, {})[leaf] = sums
    leaves: dict[_Leaf, Scores | None] = {}
    for of_leaf in of_size.values():
        known = {leaf: sums for leaf, sums in of_leaf.items() if sums is not None}
        added = [column for sums in known.values() for column in (sums.total, sums.weight)]
        drawn = iter(_draw_sums(added, n_draws, seed))
        leaves |= dict.fromkeys(of_leaf)
        leaves |= {leaf: sums.scores(next(drawn), next(drawn)) for leaf, sums in known.items()}
    return leaves


def _tasks_of(model: ModelAnswers, column: BoardColumn) -> dict[str, TaskAnswers]:
    """Return the tasks behind a column, with the docs of the model's metric."""
    if column.task in model.groups:
        return dict(model.groups[column.task].members)
    return {column.task: model.tasks[column.task]} if column.task in model.tasks else {}


def _too_few(model: ModelAnswers, column: BoardColumn) -> bool:
    docs = [task.n_docs for task in _tasks_of(model, column).values()]
    return sum(docs) < FEWEST_DOCS or min(docs) < 2


def _doc_numbers(tasks: Iterable[TaskAnswers]) -> tuple[int, dict[str, Numbers]]:
    """Return numbers for the docs of a task over all models: the same doc has the same number.

    Docs are matched as in `matching.common_docs`, so hashes are read only where models have other records of
    docs.

    Returns:
        The number of different docs, and by `docs_id` [D] the number of each doc.
    """
    import numpy as np

    of_docs = {task.docs_id: task for task in tasks}
    if len(of_docs) == 1:
        ((docs_id, task),) = of_docs.items()
        return task.n_docs, {docs_id: np.arange(task.n_docs)}
    places: dict[tuple[str, int], int] = {}
    numbers = {
        docs_id: np.array([places.setdefault(key, len(places)) for key in numbered(task.hashes())])
        for docs_id, task in of_docs.items()
    }
    return len(places), numbers


@dataclass(frozen=True, slots=True)
class _DocSums:
    """A model's metric of a task as a quotient of sums over docs."""

    values: DocValues
    """Values of the docs that count."""
    total: Scores
    """[N] value times weight of each doc; 0 for docs that do not count, or that the model lacks."""
    weight: Scores
    """[N] weights."""

    @classmethod
    def of(cls, values: DocValues, numbers: Numbers, size: int) -> _DocSums:
        import numpy as np

        counting = np.flatnonzero(~np.isnan(values.values))
        values, numbers = values.of(counting), numbers[counting]
        total, weight = np.zeros(size), np.zeros(size)
        total[numbers] = values.values * values.weights
        weight[numbers] = values.weights
        return cls(values, total, weight)

    def scores(self, total: Scores, weight: Scores) -> Scores:
        """Return [B] the metric from its sums in each draw; NaN in a draw without any doc that counts."""
        import numpy as np

        scored, weights = self.values.values, self.values.weights
        known = np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)
        n = len(weights)
        if n > 1:  # draws from n docs vary less than n new docs
            mean = np.average(scored, weights=weights)
            known = np.clip(mean + (known - mean) * math.sqrt(n / (n - 1)), scored.min(), scored.max())
        scores: Scores = self.values.transform(known)
        return scores


def _draw_sums(columns: Sequence[Scores], n_draws: int, seed: int) -> list[Scores]:
    """Return [B] the sums of each column [N] over the docs of each draw."""
    import numpy as np

    found = [np.full(n_draws, column.sum()) for column in columns]
    size = len(columns[0]) if columns else 0
    # As many docs are drawn as there are: the sum of equal values is always the same.
    varying = [place for place, column in enumerate(columns) if np.ptp(column) > 0]
    exact = [place for place in varying if _is_exact(columns[place])]
    others = [place for place in varying if place not in exact]
    rights = np.stack([columns[place] for place in exact], axis=1, dtype=np.float32) if exact else None
    values = np.stack([columns[place] for place in others], axis=1) if others else None
    random = np.random.default_rng(seed)
    together = max(1, DRAWN_TOGETHER // max(1, size))
    for first in range(0, n_draws if varying else 0, together):
        last = min(first + together, n_draws)
        # Counting what was drawn takes a fifth of the time of `multinomial`.
        draws = random.integers(size, size=(last - first, size))
        draws += np.arange(last - first)[:, None] * size
        counts = np.bincount(draws.ravel(), minlength=draws.size).reshape(draws.shape)
        if rights is not None:
            for place, sums in zip(exact, (counts.astype(np.float32) @ rights).T, strict=True):
                found[place][first:last] = sums
        if values is not None:
            for place, sums in zip(others, (counts.astype(np.float64) @ values).T, strict=True):
                found[place][first:last] = sums
    return found


def _is_exact(column: Scores) -> bool:
    """Return whether sums of the values are exact in float32: whole numbers, such as 1 for right docs."""
    import numpy as np

    return bool((column == np.rint(column)).all() and np.abs(column).max() * len(column) < EXACT)


def _of_column(model: ModelAnswers, column: BoardColumn, leaves: dict[_Leaf, Scores | None]) -> Scores | None:
    """Return the draws of a task, or for a group the mean over its tasks, weighted as lm_eval weighs them."""
    import numpy as np

    tasks = _tasks_of(model, column)
    parts = [leaves.get((id(task), column.metric, column.filter)) for task in tasks.values()]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    if column.task not in model.groups:
        return known[0]
    by_size = model.groups[column.task].weighs_by_size(column.metric)
    weights = [task.n_docs if by_size else 1 for task in tasks.values()]
    mean: Scores = np.average(np.stack(known), axis=0, weights=weights)
    return mean
