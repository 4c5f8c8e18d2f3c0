"""The plan: every request of an evaluation as token ids, cut into shards; a value that is saved and named.

A plan depends on tasks, settings and tokenizer, not on any weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from milepost.arrow import as_array, read_parquet
from milepost.plan.encode import EncodedTask
from milepost.plan.offered_choices import choices_of
from milepost.plan.sequences import take
from milepost.plan.shards import (
    Generations,
    Shard,
    cut_into_shards,
    shard_sequences,
    without_tokenizer,
)
from milepost.types import Choices, Generation, Offer, Request, Sequences

if TYPE_CHECKING:
    import pyarrow as pa

CHOICE_COLUMNS = ("doc_id", "right", "chars", "bytes", "tokens", "scored_bytes")

METRICS_VERSION = 3
"""Counts up when Milepost computes other figures from the same answers; they are computed anew then."""

KINDS = ("loglikelihood", "loglikelihood_rolling", "generate_until")


class Docs:
    """The docs of one task as a table of columns (doc_id, doc, target, arguments, hashes); opaque here.

    Prompts are by far the largest part of a plan and are wanted only when a results folder first meets the
    task, so a plan that comes from disk reads them when asked.
    """

    def __init__(self, columns: dict[str, list[Any]] | None = None, path: Path | None = None) -> None:
        self._columns = columns
        self.path = path
        """The Parquet file that has them; None where they were made just now."""

    def table(self) -> pa.Table:
        import pyarrow as pa

        return pa.table(self._columns) if self.path is None else read_parquet(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """One task's requests (R) and the docs they come from."""

    name: str
    task_id: str
    """Names what is asked and of which docs, down to how a model's own files say that its texts end."""
    asked_id: str
    """The same less what a model's own files say: tasks with the same one are comparable."""
    docs_id: str
    """Names the docs as they are stored: prompts and choices too, whatever their tokens."""
    encoded: EncodedTask
    kinds: npt.NDArray[np.int8]
    """[R] index into KINDS."""
    doc_ids: npt.NDArray[np.int64]
    """[R] place of the request's doc in the evaluation split, ascending within the task."""
    generations: Generations
    n_docs: int
    docs: Docs
    shards: tuple[Shard, ...]
    choices: Choices | None
    """What each doc lets the model choose from; None where it is not asked to choose."""
    _sequences: dict[str, Sequences] = field(default_factory=dict, repr=False, compare=False)

    def sequences_of(self, shard: Shard) -> Sequences:
        """What an engine scores for one of the shards: the same object each time, so that an engine can know
        it again."""
        if shard.shard_id not in self._sequences:
            sequences = shard_sequences(self.encoded, shard)
            if not sequences.n_targets.all():  # some are prompts, which are continued and not scored
                sequences = take(sequences, np.flatnonzero(sequences.n_targets))
            self._sequences[shard.shard_id] = sequences
        return self._sequences[shard.shard_id]

    def asks_texts(self, shard: Shard) -> bool:
        """Whether some request of a shard is a prompt to be continued."""
        return bool((self.generations.of[shard.first : shard.last] >= 0).any())

    @property
    def n_tokens(self) -> int:
        """Tokens read and, at most, generated, before anything is shared."""
        return self.tokens_of(0, self.encoded.n_requests)

    def tokens_of(self, first: int, last: int) -> int:
        """The same of the requests `first` to `last` (exclusive)."""
        lo, hi = np.searchsorted(self.encoded.request_of, [first, last])
        starts = self.encoded.sequences.starts
        return int(starts[hi] - starts[lo]) + int(self.generations.n_tokens()[first:last].sum())

    @classmethod
    def build(
        cls,
        name: str,
        requests: list[Request],
        docs: dict[str, list[Any]],
        encoded: EncodedTask,
        shard_tokens: int,
        offers: list[Offer] | None = None,
        tokenizer_id: str = "",
        task_says: Sequence[Generation | None] | None = None,
    ) -> TaskPlan:
        """Cut what a task asks into shards, and name it.

        Args:
            task_says: the requests' generations as the task itself has them, where those in `requests` are
                completed by what a model's own files say.
        """
        doc_ids = np.asarray([request.doc_id for request in requests], dtype=np.int64)
        generations = Generations.of_requests(request.generation for request in requests)
        shards = cut_into_shards(encoded, doc_ids, shard_tokens, generations, tokenizer_id)
        task_id = asked_id = _task_id(name, shards, docs)
        if task_says is not None and generations.settings:
            asked = Generations.of_requests(task_says)
            asked_id = _task_id(name, cut_into_shards(encoded, doc_ids, shard_tokens, asked), docs)
        return cls(
            name=name,
            task_id=task_id,
            asked_id=asked_id,
            docs_id=_docs_id(asked_id, docs, offers),
            encoded=encoded,
            kinds=np.asarray([KINDS.index(request.kind) for request in requests], dtype=np.int8),
            doc_ids=doc_ids,
            generations=generations,
            n_docs=len(docs["doc_hash"]),
            docs=Docs(docs),
            shards=shards,
            choices=None if offers is None else choices_of(offers, encoded, doc_ids),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The tasks of one evaluation, in lm_eval's order."""

    tasks: tuple[TaskPlan, ...]
    tokenizer_id: str
    max_length: int
    settings: dict[str, Any]
    """JSON: what was asked, versions, and lm_eval's task configs; for people and for result files."""

    @property
    def plan_id(self) -> str:
        """Names the questions, how their answers are counted and shown, and the versions of who counts."""
        named = [self.settings["counting"], self.settings.get("configs"), self.counted_by]
        parts = [self.tokenizer_id, str(self.max_length), json.dumps(named, sort_keys=True)]
        parts += [part for task in self.tasks for part in (task.task_id, task.docs_id)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    @property
    def counted_by(self) -> list[Any]:
        """Versions of what computes figures: lm_eval's, and that of Milepost's own figures."""
        return [self.settings.get("versions", {}).get("lm_eval"), METRICS_VERSION]

    def counting_id(self, task: TaskPlan) -> str:
        """Names how one task's docs are counted; with the task's id it names what each doc counts."""
        counting = self.settings["counting"].get("tasks", {}).get(task.name)
        told = json.dumps([counting, self.counted_by], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def n_tokens(self) -> int:
        """Tokens of all requests, read and (at most) generated, before anything is shared."""
        return sum(task.n_tokens for task in self.tasks)

    @property
    def n_requests(self) -> int:
        return sum(task.encoded.n_requests for task in self.tasks)

    @property
    def asks_texts(self) -> bool:
        """Whether some request is a prompt to be continued."""
        return any(task.generations.settings for task in self.tasks)

    def longest_scored(self) -> Sequences | None:
        """What is scored of the shard that holds the longest such sequence; None where nothing is scored."""
        most, found = 0, None
        for task in self.tasks:
            sequences = task.encoded.sequences
            lengths = np.where(sequences.n_targets > 0, np.diff(sequences.starts), 0)
            if lengths.max(initial=0) > most:
                most, found = int(lengths.max()), (task, int(lengths.argmax()))
        if found is None:
            return None
        task, place = found
        return next(task.sequences_of(shard) for shard in task.shards if place < shard.last_sequence)


def _task_id(name: str, shards: tuple[Shard, ...], docs: dict[str, list[Any]]) -> str:
    parts = ["milepost task 1", name, *(without_tokenizer(shard.shard_id) for shard in shards)]
    parts += [*docs["doc_hash"], *docs["target_hash"]]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _docs_id(task_id: str, docs: dict[str, list[Any]], offers: list[Offer] | None) -> str:
    digest = hashlib.sha256(b"milepost docs 1\0" + task_id.encode())
    for column in sorted(docs):
        digest.update(json.dumps([column, docs[column]], default=str).encode())
    told = [
        {name: value for name, value in asdict(offer).items() if value is not None} for offer in offers or ()
    ]
    digest.update(json.dumps(told, default=str).encode())
    return digest.hexdigest()[:32]


def save_plan(plan: Plan, folder: Path, write_docs: Callable[[TaskPlan, Path], None]) -> None:
    """Write the plan into `folder`, which appears whole or not at all.

    Args:
        write_docs: writes a task's docs as a Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    entries = []
    for number, task in enumerate(plan.tasks):
        sequences = task.encoded.sequences
        tables = {
            "tokens": pa.table({"token": sequences.tokens}),
            "sequences": pa.table(
                {
                    "length": np.diff(sequences.starts),
                    "n_targets": sequences.n_targets,
                    "request": task.encoded.request_of,
                }
            ),
            "requests": pa.table(
                {"kind": task.kinds, "doc_id": task.doc_ids, "generation": task.generations.of}
            ),
        }
        if task.choices is not None:
            tables["choices"] = pa.table({name: getattr(task.choices, name) for name in CHOICE_COLUMNS})
        for name, table in tables.items():
            pq.write_table(table, temporary / f"{number}.{name}.parquet", compression="zstd")
        write_docs(task, temporary / f"{number}.docs.parquet")
        entries.append(
            {
                "name": task.name,
                "task_id": task.task_id,
                "asked_id": task.asked_id,
                "docs_id": task.docs_id,
                "n_docs": task.n_docs,
                "generations": [asdict(one) for one in task.generations.settings],
                "n_requests": task.encoded.n_requests,
                "n_truncated": task.encoded.n_truncated,
                "fixed_choices": None if task.choices is None else task.choices.fixed,
                "shards": [
                    [s.shard_id, s.first, s.last, s.first_sequence, s.last_sequence] for s in task.shards
                ],
            }
        )
    head = {
        "tokenizer_id": plan.tokenizer_id,
        "max_length": plan.max_length,
        "settings": plan.settings,
        "tasks": entries,
    }
    (temporary / "plan.json").write_text(json.dumps(head, ensure_ascii=False), "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def load_plan(folder: Path) -> Plan:
    """A plan as `save_plan` wrote it.

    Raises:
        OSError, ValueError, KeyError: there is none, or it is damaged.
    """
    head = json.loads((folder / "plan.json").read_text("utf-8"))
    tasks = []
    for number, entry in enumerate(head["tasks"]):
        tables = {
            name: read_parquet(folder / f"{number}.{name}.parquet")
            for name in ("tokens", "sequences", "requests")
        }
        lengths = as_array(tables["sequences"]["length"])
        tasks.append(
            TaskPlan(
                name=entry["name"],
                task_id=entry["task_id"],
                asked_id=entry["asked_id"],
                docs_id=entry["docs_id"],
                encoded=EncodedTask(
                    sequences=Sequences(
                        tokens=as_array(tables["tokens"]["token"]),
                        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
                        n_targets=as_array(tables["sequences"]["n_targets"]),
                    ),
                    request_of=as_array(tables["sequences"]["request"]),
                    n_requests=entry["n_requests"],
                    n_truncated=entry["n_truncated"],
                ),
                kinds=as_array(tables["requests"]["kind"]),
                doc_ids=as_array(tables["requests"]["doc_id"]),
                generations=Generations(
                    tuple(_generation(one) for one in entry["generations"]),
                    as_array(tables["requests"]["generation"]),
                ),
                n_docs=entry["n_docs"],
                docs=Docs(path=folder / f"{number}.docs.parquet"),
                shards=tuple(Shard(*shard) for shard in entry["shards"]),
                choices=_load_choices(folder / f"{number}.choices.parquet", entry["fixed_choices"]),
            )
        )
    return Plan(
        tasks=tuple(tasks),
        tokenizer_id=head["tokenizer_id"],
        max_length=head["max_length"],
        settings=head["settings"],
    )


def _generation(entry: dict[str, Any]) -> Generation:
    """As `asdict` gave it to JSON."""
    lists = {name: tuple(entry[name]) for name in ("until", "stop_tokens")}
    return Generation(
        **{**entry, **lists, "options": tuple((name, value) for name, value in entry["options"])}
    )


def _load_choices(path: Path, fixed: bool | None) -> Choices | None:
    if fixed is None:
        return None
    table = read_parquet(path)
    return Choices(**{name: as_array(table[name]) for name in CHOICE_COLUMNS}, fixed=fixed)
