"""What the checkpoints of a series picked on one multiple-choice task, doc by doc, through training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.errors import ResultsError
from milepost.name_matching import close_or_first, matches
from milepost.store.atomic_files import read_json
from milepost.store.folder import ResultsFolder, docs_id_of, open_results
from milepost.store.picks import read_picks
from milepost.store.reading import Current, read_current
from milepost.store.tables import read_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

COLUMNS = ("pick", "right", "margin")

_File = tuple[str, str, str]
"""Plan, model and numerics, which name a file of picks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickHistory:
    """One task through one series: S checkpoints by step, D docs."""

    series: str
    task: str
    docs_id: str
    """Names the records of its docs and choices."""
    checkpoints: tuple[str, ...]
    """[S]"""
    steps: tuple[int | None, ...]
    """[S]"""
    doc_id: npt.NDArray[np.int64]
    """[D] places in the evaluation split."""
    pick: npt.NDArray[np.int16]
    """[S, D] position of the choice with the highest log-likelihood."""
    right: npt.NDArray[np.bool_]
    """[S, D] whether that choice is right."""
    margin: npt.NDArray[np.float32]
    """[S, D] nats from the best wrong choice up to the best right one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One doc as the model saw it."""

    doc_id: int
    requests: tuple[tuple[str, str], ...]
    """Context and continuation of each choice."""
    right: tuple[int, ...]
    """Positions of the right choices."""


def read_histories(path: Path, tasks: Sequence[str] = (), series: Sequence[str] = ()) -> list[PickHistory]:
    """Every multiple-choice task that matches, through every series that matches.

    Args:
        path: a results folder.
        tasks: names or patterns; a group stands for its tasks. Empty for all.
        series: names or patterns of training runs. Empty for all.

    Raises:
        ResultsError: nothing matches, no match is a multiple-choice task, or a damaged record.
    """
    results = open_results(path)
    current = [each for each in read_current(results, free=()) if each.rows[0]["kind"] == "task"]
    _check_some(current, "series", {each.series for each in current}, series)
    named = {name for each in current for name in (each.task, *each.rows[0]["parents"])}
    _check_some(current, "task", named, tasks)
    wanted: dict[tuple[str, str], list[Current]] = {}
    for each in current:
        names = (each.task, *each.rows[0]["parents"])
        if any(_matches(name, tasks) for name in names) and _matches(each.series, series):
            wanted.setdefault((each.series, each.task), []).append(each)
    choosing = {key: found for key, found in wanted.items() if any(one.picks is not None for one in found)}
    if not choosing:
        raise ResultsError(
            f"{', '.join(sorted({task for _, task in wanted}))}: no multiple-choice task",
            "questions are shown of tasks that offer choices",
        )
    return _read(results, choosing)


def read_asked(path: Path, wanted: Sequence[tuple[PickHistory, int]]) -> list[Asked]:
    """Docs as the model saw them, in the order given; each task's files are read once.

    Args:
        path: the results folder of the histories.
        wanted: a task through a series, and the doc's place in the split.

    Raises:
        ResultsError: a damaged record.
    """
    results = open_results(path)
    docs_of: dict[str, list[int]] = {}
    for history, doc in wanted:
        docs_of.setdefault(history.docs_id, []).append(doc)
    found = {docs_id: _read_docs(results, docs_id, docs) for docs_id, docs in docs_of.items()}
    return [found[history.docs_id][doc] for history, doc in wanted]


def _read_docs(results: ResultsFolder, docs_id: str, docs: Sequence[int]) -> dict[int, Asked]:
    import json

    choices = read_table(results.choices_path(docs_id))
    table = read_table(results.docs_path(docs_id))
    row_of = {doc: row for row, doc in enumerate(table["doc_id"].to_pylist())}
    rights: dict[int, list[bool]] = {}
    for doc, right in zip(choices["doc_id"].to_pylist(), choices["right"].to_pylist(), strict=True):
        rights.setdefault(doc, []).append(right)
    found = {}
    for doc in docs:
        given = json.loads(table["arguments"][row_of[doc]].as_py())
        found[doc] = Asked(
            doc_id=doc,
            requests=tuple((one[0], one[1]) for one in given[: len(rights[doc])]),
            right=tuple(position for position, right in enumerate(rights[doc]) if right),
        )
    return found


def _read(results: ResultsFolder, choosing: dict[tuple[str, str], list[Current]]) -> list[PickHistory]:
    """One pass over the checkpoints: a file of picks holds all tasks of a plan."""
    import numpy as np

    tasks_of: dict[_File, set[str]] = {}
    for (_, task), found in choosing.items():
        for each in found:
            if each.picks is not None:
                tasks_of.setdefault(_file(each), set()).add(task)
    arrays = {file: read_picks(results.picks_path(*file), COLUMNS, tasks) for file, tasks in tasks_of.items()}
    plans = {each.plan_id for found in choosing.values() for each in found}
    docs_ids = {
        (plan_id, one["name"]): docs_id_of(one)
        for plan_id in plans
        for one in read_json(results.plan_path(plan_id))["tasks"]
    }
    histories = []
    for (series, task), found in choosing.items():
        answered = [each for each in found if each.picks is not None]
        lacking = [each for each in answered if task not in arrays[_file(each)]]
        if lacking or (answered[-1].plan_id, task) not in docs_ids:
            raise ResultsError(
                f"the picks of {(lacking or answered)[-1].checkpoint['checkpoint']} have no task {task}",
                "`milepost verify RESULTS` checks every record",
            )
        own = [arrays[_file(each)][task] for each in answered]
        histories.append(
            PickHistory(
                series=series,
                task=task,
                docs_id=docs_ids[answered[-1].plan_id, task],
                checkpoints=tuple(each.checkpoint["checkpoint"] for each in answered),
                steps=tuple(each.checkpoint["step"] for each in answered),
                doc_id=own[0]["doc_id"],
                **{name: np.stack([one[name] for one in own]) for name in COLUMNS},
            )
        )
    return histories


def _file(each: Current) -> _File:
    return each.plan_id, each.checkpoint["model_id"], each.checkpoint["numerics"]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or matches(name, patterns)


def _check_some(current: Sequence[Current], what: str, names: set[str], patterns: Sequence[str]) -> None:
    if not current:
        raise ResultsError("these results hold no measurement yet", "`milepost run` writes them")
    for pattern in patterns:
        if not any(_matches(name, [pattern]) for name in names):
            near = close_or_first(pattern, sorted(names))
            raise ResultsError(f"no {what} matches `{pattern}`", f"there are: {', '.join(near)}")
