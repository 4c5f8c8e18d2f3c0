"""Read a plan from the records of a results folder: no token ids, but enough to compute metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from milepost.errors import ResultsError
from milepost.files.arrow import as_array, as_column
from milepost.plan.encode import EncodedTask
from milepost.plan.plan import KINDS, Docs, Plan, TaskPlan
from milepost.plan.shards import Generations, Shard
from milepost.store import ResultsFolder, file_state
from milepost.store.picks import read_choices
from milepost.store.reading import read_plan
from milepost.store.records import PlannedTask
from milepost.store.tables import looks_whole, read_table, write_table
from milepost.text.language import Phrase
from milepost.types.generation import Generation
from milepost.types.sequences import Sequences

if TYPE_CHECKING:
    import numpy.typing as npt

_TEXT = KINDS.index("generate_until")


def write_requests(results: ResultsFolder, plan: Plan) -> None:
    """Store the requests of a plan without their tokens, unless they are stored.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    import pyarrow as pa

    path = results.requests_path(plan.plan_id)
    if looks_whole(path):
        return
    columns: dict[str, Sequence[npt.NDArray[Any]]] = {
        "task": [np.full(len(task.kinds), number, np.int32) for number, task in enumerate(plan.tasks)],
        "kind": [task.kinds for task in plan.tasks],
        "doc_id": [task.doc_ids for task in plan.tasks],
        "n_targets": [task.encoded.n_targets_of_requests for task in plan.tasks],
    }
    write_table(path, pa.table({name: as_column(np.concatenate(parts)) for name, parts in columns.items()}))


def read_stored_plan(results: ResultsFolder, plan_id: str) -> Plan:
    """Return a stored plan, to compute metrics with; its sequences have targets and no tokens.

    Raises:
        ResultsError: a record is missing or damaged, or of a Milepost that kept too little.
    """
    record = read_plan(results, plan_id)
    table = read_table(results.requests_path(plan_id))
    columns = {name: as_array(table[name]) for name in ("task", "kind", "doc_id", "n_targets")}
    tasks = []
    for number, entry in enumerate(record.tasks):
        rows = columns["task"] == number
        tasks.append(
            _task(results, entry, *(columns[name][rows] for name in ("kind", "doc_id", "n_targets")))
        )
    plan = Plan(
        tasks=tuple(tasks),
        tokenizer_id=record.tokenizer_id,
        max_length=record.max_length,
        settings=dict(record.settings),
    )
    if plan.plan_id != plan_id:
        raise ResultsError(
            Phrase(
                "the plan {plan_id} in {path} is of another version of Milepost",
                plan_id=plan_id,
                path=results.path,
            ),
            "the command that made the scores computes their metrics",
        )
    return plan


def _task(
    results: ResultsFolder,
    entry: PlannedTask,
    kinds: npt.NDArray[np.int8],
    doc_ids: npt.NDArray[np.int64],
    n_targets: npt.NDArray[np.int64],
) -> TaskPlan:
    n = len(kinds)
    choices = results.choices_path(entry.docs_id)
    asked = (Generation(until=(), max_new_tokens=0),) if (kinds == _TEXT).any() else ()
    return TaskPlan(
        name=entry.name,
        task_id=entry.task_id,
        asked_id=entry.asked_id or "",
        docs_id=entry.docs_id,
        encoded=EncodedTask(
            sequences=Sequences(
                tokens=np.zeros(0, np.int32),
                starts=np.zeros(n + 1, np.int64),
                n_targets=n_targets.astype(np.int32),
            ),
            request_of=np.arange(n, dtype=np.int32),
            n_requests=n,
            n_truncated=entry.n_truncated,
        ),
        kinds=kinds,
        doc_ids=doc_ids,
        generations=Generations(asked, np.where(kinds == _TEXT, 0, -1).astype(np.int16)),
        n_docs=entry.n_docs,
        docs=Docs(path=results.docs_path(entry.docs_id)),
        shards=tuple(Shard(shard_id, first, last, 0, 0) for shard_id, first, last in entry.shards),
        choices=read_choices(choices) if file_state.exists(choices) else None,
    )
