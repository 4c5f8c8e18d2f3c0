"""Read which docs each checkpoint of a series got right on a task that offers no choices, through training.

A doc counts as right where the task's headline metric is at least half for it: 1 of an exact match, 0.5 of an
overlap such as F1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milepost.store.columns import DocMetricsTable
from milepost.store.tables import read_table
from milepost.types.histories import PickHistory, TextMetric

if TYPE_CHECKING:
    from pathlib import Path

    from milepost.store.folder import ResultsFolder
    from milepost.store.index import ResultsIndex
    from milepost.store.task_metrics import TaskMetrics

HALF = 0.5
NO_PICK = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDoc:
    """A doc of a task that offers no choices, as the model saw it."""

    prompts: tuple[str, ...]
    target: str
    """The right answer, as the task says it."""
    texts: tuple[str, ...]
    """The answers of each checkpoint of the series."""


def read_text_history(index: ResultsIndex, places: Sequence[TaskMetrics]) -> PickHistory | None:
    """Return a task at its checkpoints; None unless its headline metric is a number from 0 to 1 of each doc.

    Checkpoints that were asked other docs than the last one are left out.

    Args:
        places: of one task and series, by step.

    Raises:
        ResultsError: a damaged record.
    """
    import numpy as np

    headline = places[-1].rows[0]
    if headline.higher_is_better is not True:
        return None
    columns: list[Any] = []
    kept: list[TaskMetrics] = []
    files: list[Path] = []
    doc_ids: list[int] = []
    for place in reversed(places):
        planned = index.plan(place.plan_id).task(place.task)
        path = index.folder.doc_metrics_path(planned.counted_id, *place.checkpoint.model)
        if not path.exists():
            continue
        table = DocMetricsTable(read_table(path))
        own_ids = list(table.filters.get(headline.filter, {}))
        values = table.values(headline.metric, headline.filter)
        if not own_ids or not _are_shares(values) or (doc_ids and own_ids != doc_ids):
            continue
        doc_ids = own_ids
        columns.insert(0, np.asarray(values, dtype=np.float32))
        kept.insert(0, place)
        files.insert(0, path)
    if not kept:
        return None
    value = np.stack(columns)
    return PickHistory(
        series=places[-1].series,
        task=places[-1].label,
        docs_id=index.plan(kept[-1].plan_id).task(kept[-1].task).docs_id,
        checkpoints=tuple(place.checkpoint.name for place in kept),
        steps=tuple(place.checkpoint.step for place in kept),
        doc_id=np.asarray(doc_ids, dtype=np.int64),
        pick=np.full(value.shape, NO_PICK, dtype=np.int16),
        right=value >= HALF,
        margin=value,
        text=TextMetric(headline.metric, headline.filter, tuple(files)),
    )


def _are_shares(values: Any) -> bool:
    """Return whether there is a number from 0 to 1 for each doc."""
    return values is not None and all(
        isinstance(value, (int, float)) and 0 <= value <= 1
        for value in (values if isinstance(values, list) else values.tolist())
    )


def read_written_docs(
    results: ResultsFolder, history: PickHistory, docs: Sequence[int]
) -> dict[int, WrittenDoc]:
    """Return docs of a text history, by their places in the split.

    Raises:
        ResultsError: a damaged record.
    """
    assert history.text is not None
    table = read_table(results.docs_path(history.docs_id))
    row_of = {doc: row for row, doc in enumerate(table["doc_id"].to_pylist())}
    answers = [_answers(read_table(file), history.text.filter) for file in history.text.files]
    found = {}
    for doc in docs:
        row = row_of[doc]
        asked = json.loads(table["arguments"][row].as_py())
        found[doc] = WrittenDoc(
            prompts=tuple(str(one[0]) for one in asked),
            target=str(table["target"][row].as_py()),
            texts=tuple(of_checkpoint[doc] for of_checkpoint in answers),
        )
    return found


def _answers(table: Any, filter_name: str) -> dict[int, str]:
    """Return by doc what a checkpoint answered: its first text."""
    rows = zip(
        table["doc_id"].to_pylist(), table["filter"].to_pylist(), table["filtered"].to_pylist(), strict=True
    )
    return {doc: _first_text(json.loads(filtered)) for doc, name, filtered in rows if name == filter_name}


def _first_text(filtered: Any) -> str:
    while isinstance(filtered, list):
        if not filtered:
            return ""
        filtered = filtered[0]
    return str(filtered)
