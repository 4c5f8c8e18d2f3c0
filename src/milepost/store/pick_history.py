"""Read what the checkpoints of a series picked or wrote on one task, doc by doc, through training."""

from __future__ import annotations

import json
from collections.abc import Collection, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from milepost.errors import ResultsError
from milepost.files.arrow import as_array
from milepost.store.atomic_files import damaged as damaged_record
from milepost.store.folder import ResultsFolder
from milepost.store.index import ResultsIndex
from milepost.store.kept_picks import KeptPicks, OfTasks
from milepost.store.tables import read_rows, read_table
from milepost.store.task_metrics import TaskMetrics
from milepost.store.text_history import WrittenDoc, read_text_history, read_written_docs, scored_shards
from milepost.text.language import Phrase
from milepost.text.name_matching import close_or_first, matches
from milepost.types.histories import PickHistory

COLUMNS = ("pick", "right", "margin")

_File = tuple[str, str, str]
"""Plan, model and numerics, which name a file of picks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A doc as the model saw it."""

    doc_id: int
    requests: tuple[tuple[str, str], ...]
    """Context and continuation of each choice, or of each request; of a text the prompt, and nothing."""
    right: tuple[int, ...]
    """Positions of the right choices."""
    loglikelihoods: tuple[tuple[float, ...], ...] = ()
    """Log-likelihoods of the choices at each checkpoint of the series, nats; NaN if the model gave none."""
    target: str = ""
    """The right answer where a text is written, as the task says it."""
    texts: tuple[str, ...] = ()
    """What the task takes from each checkpoint's text, where it offers no choices."""
    written: tuple[str, ...] = ()
    """Each checkpoint's text as it was written; empty where none was asked for."""
    likeliest: tuple[tuple[tuple[str, float], ...], ...] = ()
    """The likeliest first tokens of each checkpoint's text with their log-probabilities, where the task asks
    for them; nats."""

    @property
    def n_characters(self) -> int:
        """The length of what was asked."""
        return sum(len(context) + len(continuation) for context, continuation in self.requests)


def read_histories(
    index: ResultsIndex,
    tasks: Sequence[str] = (),
    series: Sequence[str] = (),
    *,
    damaged: MutableMapping[Path, str] | None = None,
    texts: bool = False,
    picks: KeptPicks | None = None,
) -> list[PickHistory]:
    """Return every multiple-choice task that matches, through every series that matches.

    Args:
        tasks: names or patterns; a group stands for its tasks. Empty for all.
        series: names or patterns of training runs. Empty for all.
        damaged: gets damaged records with the reasons, and their checkpoints are left out; None to raise.
        texts: also return tasks that offer no choices, if their docs are right or wrong.
        picks: what was read before, of `COLUMNS`; None to read all files.

    Raises:
        ResultsError: nothing matches, no match is such a task, or a damaged record.
    """
    current = [task for task in index.tasks(()) if not task.is_group]
    _check_some(current, Phrase("series"), {task.series for task in current}, series)
    _check_some(
        current, Phrase("task"), {name for task in current for name in (*task.names, task.label)}, tasks
    )
    wanted: dict[tuple[str, str], list[TaskMetrics]] = {}
    for task in current:
        names = *task.names, task.label
        if any(_matches(name, tasks) for name in names) and _matches(task.series, series):
            wanted.setdefault((task.series, task.label), []).append(task)
    answered = {key: [task for task in found if task.has_picks] for key, found in wanted.items()}
    if not texts and not any(answered.values()):
        raise ResultsError(
            Phrase("{tasks}: no multiple-choice task", tasks=_tasks(wanted)),
            "questions are shown of tasks that offer choices",
        )
    picked = _read(index, {key: found for key, found in answered.items() if found}, damaged, picks)
    if not texts:
        return picked
    of_picks = {(history.series, history.task): history for history in picked}
    read = [of_picks.get(key) or read_text_history(index, found, damaged) for key, found in wanted.items()]
    histories = [history for history in read if history is not None]
    if not histories:
        raise ResultsError(
            Phrase("{tasks}: no doc is right or wrong", tasks=_tasks(wanted)),
            "questions are shown of tasks that offer choices, and of those whose first metric is a share of "
            "right answers",
        )
    return histories


def _tasks(wanted: Collection[tuple[str, str]]) -> str:
    return ", ".join(sorted({task for _, task in wanted}))


def read_questions(
    results: ResultsFolder, wanted: Sequence[tuple[PickHistory, int]], *, answers: bool = True
) -> list[Question]:
    """Return docs as the model saw them, in the order given; each task's files are read once.

    Args:
        results: the folder of the histories.
        wanted: a task through a series, and the doc's place in the split.
        answers: also read the log-likelihoods of the choices, and the texts, of every checkpoint.

    Raises:
        ResultsError: a damaged record.
    """
    docs_of: dict[str, list[int]] = {}
    texts_of: dict[tuple[str, str], list[int]] = {}
    of_text = {(history.series, history.task): history for history, _ in wanted if history.text}
    for history, doc in wanted:
        if history.text is None:
            docs_of.setdefault(history.docs_id, []).append(doc)
        else:
            texts_of.setdefault((history.series, history.task), []).append(doc)
    written = {
        name: read_written_docs(results, of_text[name], docs, answers=answers)
        for name, docs in texts_of.items()
    }
    found = {docs_id: _read_docs(results, docs_id, docs) for docs_id, docs in docs_of.items()}
    of_history: dict[tuple[str, str], _Scores] = {}
    questions = []
    for history, doc in wanted:
        name = history.series, history.task
        if history.text is not None:
            questions.append(_written(doc, written[name][doc]))
            continue
        question = found[history.docs_id][doc]
        if not answers:
            questions.append(question)
            continue
        if name not in of_history:
            of_history[name] = _Scores(results, history)
        asked = of_history[name].of_doc(doc, len(question.requests))
        questions.append(replace(question, loglikelihoods=asked))
    return questions


def _written(doc_id: int, doc: WrittenDoc) -> Question:
    return Question(
        doc_id=doc_id,
        requests=doc.requests,
        right=(),
        loglikelihoods=doc.loglikelihoods,
        target=doc.target,
        texts=doc.answers,
        written=doc.texts,
        likeliest=doc.likeliest,
    )


class _Scores:
    """The log-likelihoods of all requests of a task at each checkpoint."""

    def __init__(self, results: ResultsFolder, history: PickHistory) -> None:
        import numpy as np

        self._scores = [
            np.concatenate([results.read_scores(results.score_path(*shard))[0] for shard in shards])
            for shards in history.scores
        ]
        self._first = _first_requests(results, history.docs_id, max(map(len, self._scores), default=0))

    def of_doc(self, doc: int, n_choices: int) -> tuple[tuple[float, ...], ...]:
        first = self._first[doc]
        return tuple(tuple(one[first : first + n_choices].tolist()) for one in self._scores)


def _first_requests(results: ResultsFolder, docs_id: str, n_requests: int) -> dict[int, int]:
    """Return the place of each doc's first request among those of its task.

    A doc has a request per choice, or two with lm_eval's `acc_mutual_info`: then no prompt has to be read.
    """
    import numpy as np

    choices = as_array(read_table(results.choices_path(docs_id), ["doc_id"])["doc_id"])
    docs, counts = np.unique(choices, return_counts=True)
    if n_requests % max(1, len(choices)):
        table = read_table(results.docs_path(docs_id), ["doc_id", "arguments"])
        docs = as_array(table["doc_id"])
        counts = np.array([len(json.loads(asked)) for asked in table["arguments"].to_pylist()])
    else:
        counts = counts * (n_requests // max(1, len(choices)))
    first = np.cumsum(counts) - counts
    return dict(zip(docs.tolist(), first.tolist(), strict=True))


def _read_docs(results: ResultsFolder, docs_id: str, docs: Sequence[int]) -> dict[int, Question]:
    choices = read_table(results.choices_path(docs_id), ("doc_id", "right"))
    path = results.docs_path(docs_id)
    rows = read_rows(path, "doc_id", docs, ["arguments"])
    rights: dict[int, list[bool]] = {doc: [] for doc in docs}
    for doc, right in zip(choices["doc_id"].to_pylist(), choices["right"].to_pylist(), strict=True):
        if doc in rights:
            rights[doc].append(right)
    found = {}
    for doc in docs:
        if doc not in rows or not rights[doc]:
            raise damaged_record(
                path, ResultsError(Phrase("it lacks the doc {doc}, or its choices are lacking", doc=doc))
            )
        given = json.loads(rows[doc]["arguments"])
        found[doc] = Question(
            doc_id=doc,
            requests=tuple((one[0], one[1]) for one in given[: len(rights[doc])]),
            right=tuple(position for position, right in enumerate(rights[doc]) if right),
        )
    return found


def _read(
    index: ResultsIndex,
    answered: dict[tuple[str, str], list[TaskMetrics]],
    damaged: MutableMapping[Path, str] | None,
    picks: KeptPicks | None,
) -> list[PickHistory]:
    """Pass over the checkpoints once: a file of picks holds all tasks of a plan."""
    import numpy as np

    picks = picks or KeptPicks(COLUMNS, most_bytes=0)
    filed = {key: [(_file(place), place) for place in found] for key, found in answered.items()}
    tasks_of: dict[_File, set[str]] = {}
    for placed in filed.values():
        for file, place in placed:
            tasks_of.setdefault(file, set()).add(place.task)
    arrays: dict[_File, OfTasks] = {}
    for file, tasks in tasks_of.items():
        path = index.folder.picks_path(*file)
        try:
            arrays[file] = _with_all(picks.read(path), tasks, path)
        except ResultsError as error:
            if damaged is None:
                raise
            damaged[path] = error.message.removeprefix(f"cannot read {path}: ")
    histories = []
    for (series, label), placed in filed.items():
        intact = [(file, place) for file, place in placed if file in arrays]
        if not intact:
            continue
        places = [place for _, place in intact]
        task = places[-1].task
        own = [arrays[file][task] for file, _ in intact]
        histories.append(
            PickHistory(
                series=series,
                task=label,
                docs_id=index.plan(places[-1].plan_id).task(task).docs_id,
                checkpoints=tuple(place.checkpoint.name for place in places),
                steps=tuple(place.checkpoint.step for place in places),
                doc_id=own[0]["doc_id"],
                scores=tuple(scored_shards(index, place, task) for place in places),
                pick=np.stack([of["pick"] for of in own]),
                right=np.stack([of["right"] for of in own]),
                margin=np.stack([of["margin"] for of in own]),
            )
        )
    return histories


def _with_all(found: OfTasks, tasks: set[str], path: Path) -> OfTasks:
    lacking = sorted(tasks - set(found))
    if lacking:
        raise ResultsError(
            Phrase("cannot read {path}: the picks have no task {task}", path=path, task=lacking[0]),
            "`milepost verify RESULTS` checks every record",
        )
    return found


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
            raise ResultsError(
                Phrase("no {what} matches `{pattern}`", what=what, pattern=pattern),
                Phrase("there are: {names}", names=", ".join(near)),
            )
