"""Read what the checkpoints of a series picked on one multiple-choice task, doc by doc, through training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.errors import ResultsError
from milepost.name_matching import close_or_first, matches
from milepost.result_types import PickHistory
from milepost.store.folder import ResultsFolder
from milepost.store.index import ResultsIndex, TaskMetrics
from milepost.store.picks import read_picks
from milepost.store.tables import read_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

COLUMNS = ("pick", "right", "margin")

_File = tuple[str, str, str]
"""Plan, model and numerics, which name a file of picks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A doc as the model saw it."""

    doc_id: int
    requests: tuple[tuple[str, str], ...]
    """Context and continuation of each choice."""
    right: tuple[int, ...]
    """Positions of the right choices."""
    loglikelihoods: tuple[tuple[float, ...], ...] = ()
    """Of each choice at each checkpoint of the series, in nats; NaN where the model gave no number."""


def read_histories(
    index: ResultsIndex, tasks: Sequence[str] = (), series: Sequence[str] = ()
) -> list[PickHistory]:
    """Return every multiple-choice task that matches, through every series that matches.

    Args:
        tasks: names or patterns; a group stands for its tasks. Empty for all.
        series: names or patterns of training runs. Empty for all.

    Raises:
        ResultsError: nothing matches, no match is a multiple-choice task, or a damaged record.
    """
    current = [task for task in index.tasks(()) if not task.is_group]
    _check_some(current, "series", {task.series for task in current}, series)
    _check_some(current, "task", {name for task in current for name in (*task.names, task.label)}, tasks)
    wanted: dict[tuple[str, str], list[TaskMetrics]] = {}
    for task in current:
        names = *task.names, task.label
        if any(_matches(name, tasks) for name in names) and _matches(task.series, series):
            wanted.setdefault((task.series, task.label), []).append(task)
    answered = {key: [task for task in found if task.has_picks] for key, found in wanted.items()}
    if not any(answered.values()):
        raise ResultsError(
            f"{', '.join(sorted({task for _, task in wanted}))}: no multiple-choice task",
            "questions are shown of tasks that offer choices",
        )
    return _read(index, {key: found for key, found in answered.items() if found})


def read_questions(results: ResultsFolder, wanted: Sequence[tuple[PickHistory, int]]) -> list[Question]:
    """Return docs as the model saw them, in the order given; each task's files are read once.

    Args:
        results: the folder of the histories.
        wanted: a task through a series, and the doc's place in the split.

    Raises:
        ResultsError: a damaged record.
    """
    docs_of: dict[str, list[int]] = {}
    for history, doc in wanted:
        docs_of.setdefault(history.docs_id, []).append(doc)
    found = {docs_id: _read_docs(results, docs_id, docs) for docs_id, docs in docs_of.items()}
    of_history: dict[tuple[str, str], list[npt.NDArray[np.float64]]] = {}
    questions = []
    for history, doc in wanted:
        name = history.series, history.task
        if name not in of_history:
            of_history[name] = [_read_loglikelihoods(results, files) for files in history.scores]
        scores = of_history[name]
        first, question = found[history.docs_id][doc]
        n_choices = len(question.requests)
        asked = tuple(tuple(one[first : first + n_choices].tolist()) for one in scores)
        questions.append(replace(question, loglikelihoods=asked))
    return questions


def _read_loglikelihoods(results: ResultsFolder, files: Sequence[Path]) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.concatenate([results.read_scores(file)[0] for file in files])


def _read_docs(results: ResultsFolder, docs_id: str, docs: Sequence[int]) -> dict[int, tuple[int, Question]]:
    """Return docs with the places of their first requests among those of the task."""
    choices = read_table(results.choices_path(docs_id))
    table = read_table(results.docs_path(docs_id))
    row_of = {doc: row for row, doc in enumerate(table["doc_id"].to_pylist())}
    rights: dict[int, list[bool]] = {}
    for doc, right in zip(choices["doc_id"].to_pylist(), choices["right"].to_pylist(), strict=True):
        rights.setdefault(doc, []).append(right)
    asked = [json.loads(arguments) for arguments in table["arguments"].to_pylist()]
    first = [0, *accumulate(map(len, asked))]
    found = {}
    for doc in docs:
        given = asked[row_of[doc]]
        question = Question(
            doc_id=doc,
            requests=tuple((one[0], one[1]) for one in given[: len(rights[doc])]),
            right=tuple(position for position, right in enumerate(rights[doc]) if right),
        )
        found[doc] = first[row_of[doc]], question
    return found


def _read(index: ResultsIndex, answered: dict[tuple[str, str], list[TaskMetrics]]) -> list[PickHistory]:
    """Pass over the checkpoints once: a file of picks holds all tasks of a plan."""
    import numpy as np

    tasks_of: dict[_File, set[str]] = {}
    for found in answered.values():
        for place in found:
            tasks_of.setdefault(_file(place), set()).add(place.task)
    results = index.folder
    arrays = {file: read_picks(results.picks_path(*file), COLUMNS, tasks) for file, tasks in tasks_of.items()}
    histories = []
    for (series, label), found in answered.items():
        task = found[-1].task
        lacking = [place for place in found if task not in arrays[_file(place)]]
        if lacking:
            raise ResultsError(
                f"the picks of {lacking[-1].checkpoint.name} have no task {task}",
                "`milepost verify RESULTS` checks every record",
            )
        own = [arrays[_file(place)][task] for place in found]
        histories.append(
            PickHistory(
                series=series,
                task=label,
                docs_id=index.plan(found[-1].plan_id).task(task).docs_id,
                checkpoints=tuple(place.checkpoint.name for place in found),
                steps=tuple(place.checkpoint.step for place in found),
                doc_id=own[0]["doc_id"],
                scores=tuple(_score_files(index, place, task) for place in found),
                **{name: np.stack([picks[name] for picks in own]) for name in COLUMNS},
            )
        )
    return histories


def _score_files(index: ResultsIndex, place: TaskMetrics, task: str) -> tuple[Path, ...]:
    shards = index.plan(place.plan_id).task(task).shards
    return tuple(index.folder.score_path(*place.checkpoint.model, shard.shard_id) for shard in shards)


def _file(place: TaskMetrics) -> _File:
    return place.plan_id, *place.checkpoint.model


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or matches(name, patterns)


def _check_some(current: Sequence[TaskMetrics], what: str, names: set[str], patterns: Sequence[str]) -> None:
    if not current:
        raise ResultsError("these results hold no measurement yet", "`milepost run` writes them")
    for pattern in patterns:
        if not any(_matches(name, [pattern]) for name in names):
            near = close_or_first(pattern, sorted(names))
            raise ResultsError(f"no {what} matches `{pattern}`", f"there are: {', '.join(near)}")
