"""Bootstrap the columns of a leaderboard: draw the docs of each task with replacement.

All models get the same draw of a task, matched by lm_eval's hash of the doc, so that a doc that is hard for
all models changes all of them. A published metric has no docs and does not change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from milepost.analysis.doc_values import DocValues
from milepost.analysis.leaderboard.entries import BoardColumn
from milepost.analysis.matching import task_doc_values
from milepost.analysis.mean_test import FEWEST_DOCS
from milepost.types.answers import ModelAnswers, TaskAnswers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]


DRAWN_TOGETHER = 2_000_000
"""Docs that are drawn at the same time, all draws together."""


def draw_scores(
    answers: Sequence[ModelAnswers], columns: Sequence[BoardColumn], *, n_draws: int, seed: int
) -> dict[tuple[int, BoardColumn], Scores]:
    """Return [n_draws] values of each model (by number) and column whose metric is a mean over docs.

    All are NaN with too few docs: fewer than `FEWEST_DOCS`, or a task of a single doc, which is the same in
    every draw.
    """
    import numpy as np

    hashes = _docs_of_tasks(answers, columns)
    drawn: dict[tuple[int, BoardColumn], Scores] = {}
    leaves: dict[_Leaf, Scores | None] = {}
    for task, places in hashes.items():
        counts = _draw(len(places), n_draws, seed)
        for number, model in enumerate(answers):
            known: dict[tuple[int, str, str], Scores | None] = {}
            for column in columns:
                own = _tasks_of(model, column).get(task)
                if own is None:
                    continue
                # A task stands in several groups, often with the same answers.
                key = id(own), column.metric, column.filter
                if key not in known:
                    values = task_doc_values(own, column.metric, column.filter)
                    known[key] = None if values is None else _drawn(values, own, places, counts)
                leaves[number, column, task] = known[key]
    for number, model in enumerate(answers):
        for column in columns:
            scores = _of_column(model, column, number, leaves)
            if scores is not None:
                drawn[number, column] = np.full(n_draws, np.nan) if _too_few(model, column) else scores
    return drawn


_Leaf = tuple[int, BoardColumn, str]
"""Number of a model, column, and a task behind the column."""


def _tasks_of(model: ModelAnswers, column: BoardColumn) -> dict[str, TaskAnswers]:
    """Return the tasks behind a column, with the docs of the model's metric."""
    if column.task in model.groups:
        return dict(model.groups[column.task].members)
    return {column.task: model.tasks[column.task]} if column.task in model.tasks else {}


def _too_few(model: ModelAnswers, column: BoardColumn) -> bool:
    docs = [len(task.doc_hashes) for task in _tasks_of(model, column).values()]
    return sum(docs) < FEWEST_DOCS or min(docs) < 2


def _docs_of_tasks(
    answers: Sequence[ModelAnswers], columns: Sequence[BoardColumn]
) -> dict[str, dict[str, int]]:
    """Return for each task a number for each doc hash, over all models."""
    numbers: dict[str, dict[str, int]] = {}
    for model in answers:
        for column in columns:
            for name, task in _tasks_of(model, column).items():
                of_task = numbers.setdefault(name, {})
                for doc in task.doc_hashes:
                    of_task.setdefault(doc, len(of_task))
    return numbers


def _draw(n: int, n_draws: int, seed: int) -> npt.NDArray[np.float32]:
    """Return [n_draws, n] how often each doc is drawn."""
    import numpy as np

    random = np.random.default_rng(seed)
    counts = np.empty((n_draws, n), np.float32)
    together = max(1, DRAWN_TOGETHER // n)
    # Counting what was drawn takes a fifth of the time of `multinomial`.
    for first in range(0, n_draws, together):
        part = counts[first : first + together]
        draws = random.integers(n, size=part.shape) + np.arange(len(part))[:, None] * n
        part[:] = np.bincount(draws.ravel(), minlength=part.size).reshape(part.shape)
    return counts


def _drawn(
    values: DocValues, task: TaskAnswers, places: dict[str, int], counts: npt.NDArray[np.float32]
) -> Scores:
    import numpy as np

    counting = ~np.isnan(values.values)
    numbers = np.array([places[doc] for doc in task.doc_hashes])[counting]
    weights = values.weights[counting]
    picked = counts[:, numbers].astype(np.float64)
    total, weight = picked @ (values.values[counting] * weights), picked @ weights
    # A draw without any doc of a small task has no value.
    known = np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)
    n = len(weights)
    if n > 1:  # draws from n docs vary less than n new docs
        scored = values.values[counting]
        mean = np.average(scored, weights=weights)
        known = np.clip(mean + (known - mean) * math.sqrt(n / (n - 1)), scored.min(), scored.max())
    scores: Scores = values.transform(known)
    return scores


def _of_column(
    model: ModelAnswers,
    column: BoardColumn,
    number: int,
    leaves: dict[_Leaf, Scores | None],
) -> Scores | None:
    """Return the draws of a task, or for a group the mean over its tasks, weighted as lm_eval weighs them."""
    import numpy as np

    tasks = _tasks_of(model, column)
    parts = [leaves.get((number, column, name)) for name in tasks]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    if column.task not in model.groups:
        return known[0]
    by_size = model.groups[column.task].weighs_by_size(column.metric)
    weights = [len(task.doc_hashes) if by_size else 1 for task in tasks.values()]
    mean: Scores = np.average(np.stack(known), axis=0, weights=weights)
    return mean
