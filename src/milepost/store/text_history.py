"""Read which docs each checkpoint of a series got right on a task that offers no choices, through training.

A doc counts as right where a metric is at least half for it: 1 of an exact match, 0.5 of an overlap such as
F1. It is the first metric of the task that is a number from 0 to 1 of each doc, and higher for the better.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from milepost.errors import ResultsError
from milepost.store import file_state
from milepost.store.columns import DocMetricsTable, columns_of
from milepost.store.tables import read_rows, read_table
from milepost.text.language import Phrase
from milepost.types.histories import PickHistory, ScoredShard, TextMetric

if TYPE_CHECKING:
    from milepost.store.folder import ResultsFolder
    from milepost.store.index import ResultsIndex
    from milepost.store.task_metrics import TaskMetrics

HALF = 0.5
NO_PICK = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDoc:
    """A doc of a task that offers no choices, as the model saw it, and what S checkpoints answered."""

    requests: tuple[tuple[str, str], ...]
    """Context and continuation; the continuation is empty where a text was to be written."""
    target: str
    """The right answer, as the task says it."""
    answers: tuple[str, ...] = ()
    """[S] what the task takes from each checkpoint's text."""
    texts: tuple[str, ...] = ()
    """[S] what each checkpoint wrote; empty where it wrote nothing."""
    loglikelihoods: tuple[tuple[float, ...], ...] = ()
    """[S] of each request, in nats; NaN where a text was to be written."""
    likeliest: tuple[tuple[tuple[str, float], ...], ...] = ()
    """[S] the likeliest first tokens of the answer with their log-probabilities in nats; none where the task
    does not ask for them."""


def scored_shards(index: ResultsIndex, place: TaskMetrics, task: str) -> tuple[ScoredShard, ...]:
    """Return what has a checkpoint's scores of a task, in the order of its requests."""
    model = place.checkpoint.model
    return tuple(ScoredShard(*model, shard.shard_id) for shard in index.plan(place.plan_id).task(task).shards)


def read_text_history(
    index: ResultsIndex,
    places: Sequence[TaskMetrics],
    damaged: MutableMapping[Path, str] | None = None,
) -> PickHistory | None:
    """Return a task at its checkpoints; None where no metric is a number from 0 to 1 of each doc.

    Checkpoints that were asked other docs than the last one are left out.

    Args:
        places: of one task and series, by step.
        damaged: gets damaged records with the reasons, and their checkpoints are left out; None to raise.

    Raises:
        ResultsError: a damaged record.
    """
    for row in places[-1].rows:
        if row.higher_is_better is True:
            found = _history(index, places, TextMetric(row.metric, row.filter, ()), damaged)
            if found is not None:
                return found
    return None


def _history(
    index: ResultsIndex,
    places: Sequence[TaskMetrics],
    headline: TextMetric,
    damaged: MutableMapping[Path, str] | None,
) -> PickHistory | None:
    """Return a task at its checkpoints by one metric."""
    import numpy as np

    columns: list[Any] = []
    kept: list[TaskMetrics] = []
    files: list[Path] = []
    doc_ids: list[int] = []
    for place in reversed(places):
        planned = index.plan(place.plan_id).task(place.task)
        path = index.folder.doc_metrics_path(planned.counted_id, *place.checkpoint.model)
        if not file_state.exists(path):
            continue
        try:
            table = DocMetricsTable(read_table(path, columns_of(headline.metric)))
        except ResultsError as error:
            if damaged is None:
                raise
            damaged[path] = error.message.removeprefix(f"cannot read {path}: ")
            continue
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
        scores=tuple(scored_shards(index, place, place.task) for place in kept if _has_texts(index, place)),
        text=headline._replace(files=tuple(files)),
    )


def _has_texts(index: ResultsIndex, place: TaskMetrics) -> bool:
    """Return whether a task's scores hold what the model wrote, and not token ids that its source reads."""
    return index.plan(place.plan_id).described[place.task].get("stored_answers") != "tokens"


def _are_shares(values: Any) -> bool:
    """Return whether there is a number from 0 to 1 for each doc."""
    return values is not None and all(
        isinstance(value, (int, float)) and 0 <= value <= 1
        for value in (values if isinstance(values, list) else values.tolist())
    )


def read_written_docs(
    results: ResultsFolder, history: PickHistory, docs: Sequence[int], *, answers: bool = True
) -> dict[int, WrittenDoc]:
    """Return docs of a text history, by their places in the split.

    Args:
        answers: also read what each checkpoint answered.

    Raises:
        ResultsError: a damaged record.
    """
    assert history.text is not None
    rows = read_rows(results.docs_path(history.docs_id), "doc_id", docs, ["arguments", "target"])
    asked = {doc: json.loads(rows[doc]["arguments"]) for doc in docs}
    answered: list[dict[int, _Answer]] = []
    written: list[dict[int, _Scored]] = []
    if answers:
        answered = [_answers(file, history.text.filter, docs) for file in history.text.files]
        places = _places(results, history.docs_id, docs) if history.scores else {}
        written = [_scored(results, shards, places) for shards in history.scores]
    return {
        doc: WrittenDoc(
            requests=tuple(
                (str(one[0]), one[1] if len(one) > 1 and isinstance(one[1], str) else "")
                for one in asked[doc]
            ),
            target=str(rows[doc]["target"]),
            answers=tuple(of_checkpoint[doc].text for of_checkpoint in answered),
            texts=tuple(of_checkpoint[doc].text for of_checkpoint in written),
            loglikelihoods=tuple(of_checkpoint[doc].loglikelihoods for of_checkpoint in written),
            likeliest=tuple(of_checkpoint[doc].likeliest for of_checkpoint in answered),
        )
        for doc in docs
    }


class _Answer(NamedTuple):
    """A checkpoint's answer to one doc, as the task takes it."""

    text: str
    likeliest: tuple[tuple[str, float], ...]


def _answers(file: Path, filter_name: str, docs: Sequence[int]) -> dict[int, _Answer]:
    """Return a checkpoint's answers by doc; of several texts the first."""
    table = read_table(file, ["doc_id", "filter", "filtered", "likeliest"])
    likeliest = table["likeliest"] if "likeliest" in table.column_names else None
    wanted = set(docs)
    names = zip(table["doc_id"].to_pylist(), table["filter"].to_pylist(), strict=True)
    return {
        doc: _Answer(
            _first(json.loads(table["filtered"][row].as_py())),
            ()
            if likeliest is None
            else tuple((text, nats) for text, nats in json.loads(likeliest[row].as_py())),
        )
        for row, (doc, name) in enumerate(names)
        if name == filter_name and doc in wanted
    }


def _first(filtered: Any) -> str:
    """Return the first text; of a continuation that was scored, its log-likelihood in words."""
    while isinstance(filtered, list):
        if len(filtered) == 2 and isinstance(filtered[1], bool):
            nats = f"{filtered[0]:.2f}"
            if filtered[1]:
                return Phrase("log-likelihood {nats}, the most likely text", nats=nats)
            return Phrase("log-likelihood {nats}, not the most likely text", nats=nats)
        if not filtered:
            return ""
        filtered = filtered[0]
    return str(filtered)


def _places(results: ResultsFolder, docs_id: str, docs: Sequence[int]) -> dict[int, slice]:
    """Return the places of the docs' requests among those of their task."""
    table = read_table(results.docs_path(docs_id), ["doc_id", "arguments"])
    first, found = 0, {}
    wanted = set(docs)
    for doc, asked in zip(table["doc_id"].to_pylist(), table["arguments"].to_pylist(), strict=True):
        last = first + len(json.loads(asked))
        if doc in wanted:
            found[doc] = slice(first, last)
        first = last
    return found


@dataclass(frozen=True, slots=True)
class _Scored:
    """The text and the log-likelihoods of one doc, from a checkpoint's scores."""

    text: str
    loglikelihoods: tuple[float, ...]


def _scored(
    results: ResultsFolder, shards: Sequence[ScoredShard], places: dict[int, slice]
) -> dict[int, _Scored]:
    import numpy as np

    files = [results.score_path(*shard) for shard in shards]
    logs = np.concatenate([results.read_scores(file)[0] for file in files])
    texts = [text for file in files for text in results.read_generated(file)]
    return {
        doc: _Scored(next((own[0] for own in texts[place] if own), ""), tuple(logs[place].tolist()))
        for doc, place in places.items()
    }
