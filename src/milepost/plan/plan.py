"""The plan: every request of an evaluation as token ids, cut into shards.

A plan is a value with an id. It depends on tasks, settings and tokenizer, not on weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from milepost.files.arrow import as_table, read_parquet
from milepost.plan.encode import EncodedTask
from milepost.plan.offered_choices import choices_of
from milepost.plan.sequences import take
from milepost.plan.shards import (
    Generations,
    Shard,
    cut_into_shards,
    shard_sequences,
    shard_work,
    without_tokenizer,
)
from milepost.types.choices import Choices, Offer
from milepost.types.generation import Generation
from milepost.types.requests import Request
from milepost.types.sequences import Sequences

if TYPE_CHECKING:
    import pyarrow as pa

METRICS_VERSION = 3
"""Raised when Milepost computes other metrics from the same scores; then metrics are computed anew."""

KINDS = ("loglikelihood", "loglikelihood_rolling", "generate_until")


class Docs:
    """The docs of one task as a table (doc_id, doc, target, arguments, hashes), read when first needed.

    Prompts are by far the largest part of a plan, and only a results folder that is new to the task needs
    them.
    """

    def __init__(self, columns: dict[str, list[Any]] | None = None, path: Path | None = None) -> None:
        self._columns = columns
        self.path = path
        """The Parquet file with the docs; None while they are only in memory."""

    def table(self) -> pa.Table:
        """Return the docs, from the file if there is one."""
        return as_table(self._columns or {}) if self.path is None else read_parquet(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """One task's R requests and its docs."""

    name: str
    task_id: str
    """Hash of requests and docs, including how a model's own files say that its texts end."""
    asked_id: str
    """The same hash without what a model's own files say: tasks with equal ids are comparable."""
    docs_id: str
    """Hash of the docs as they are stored, with prompts and choices, whatever their tokens."""
    encoded: EncodedTask
    kinds: npt.NDArray[np.int8]
    """[R] index into KINDS."""
    doc_ids: npt.NDArray[np.int64]
    """[R] position of the request's doc in the evaluation split, ascending."""
    generations: Generations
    n_docs: int
    docs: Docs
    shards: tuple[Shard, ...]
    choices: Choices | None
    """The choices of each doc; None unless the task is multiple choice."""
    _sequences: dict[str, Sequences] = field(default_factory=dict, repr=False, compare=False)
    _work: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def sequences_of(self, shard: Shard) -> Sequences:
        """Return the sequences to score; the same object each time, so that engines can cache by it."""
        if shard.shard_id not in self._sequences:
            sequences = shard_sequences(self.encoded, shard)
            if not sequences.n_targets.all():  # prompts are continued, not scored
                sequences = take(sequences, np.flatnonzero(sequences.n_targets))
            self._sequences[shard.shard_id] = sequences
        return self._sequences[shard.shard_id]

    def work_of(self, shard: Shard) -> int:
        """Return what a shard costs, in tokens that a forward pass computes; see `shards.shard_work`."""
        if shard.shard_id not in self._work:
            self._work[shard.shard_id] = shard_work(self.encoded, shard, self.generations)
        return self._work[shard.shard_id]

    @property
    def whole(self) -> Shard:
        """Return all requests as one shard, which is never stored."""
        return Shard("whole", 0, self.encoded.n_requests, 0, len(self.encoded.request_of))

    def first_docs(self, shard: Shard, n_docs: int) -> Shard:
        """Return the beginning of a shard, as a shard that is never stored."""
        docs = self.doc_ids[shard.first : shard.last]
        starts = np.flatnonzero(np.diff(docs, prepend=docs[0] - 1))
        last = shard.last if len(starts) <= n_docs else shard.first + int(starts[n_docs])
        last_sequence = int(np.searchsorted(self.encoded.request_of, last))
        return replace(shard, shard_id=f"{shard.shard_id}-{n_docs}", last=last, last_sequence=last_sequence)

    def generates_text(self, shard: Shard) -> bool:
        """Return whether a request of the shard is a prompt to continue."""
        return bool((self.generations.of[shard.first : shard.last] >= 0).any())

    @property
    def n_tokens(self) -> int:
        """Tokens of all requests, read and (at most) generated, without sharing."""
        return self.tokens_of(0, self.encoded.n_requests)

    def tokens_of(self, first: int, last: int) -> int:
        """Return the same number for the requests `first` to `last` (exclusive)."""
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
        task_generations: Sequence[Generation | None] | None = None,
    ) -> TaskPlan:
        """Cut a task into shards and compute its ids.

        Args:
            task_generations: the generation settings of the task itself, if those in `requests` also have
                what a model's own files say.
        """
        doc_ids = np.asarray([request.doc_id for request in requests], dtype=np.int64)
        generations = Generations.of_requests(request.generation for request in requests)
        shards = cut_into_shards(encoded, doc_ids, shard_tokens, generations, tokenizer_id)
        task_id = asked_id = _task_id(name, shards, docs)
        if task_generations is not None and generations.settings:
            of_task = Generations.of_requests(task_generations)
            asked_id = _task_id(name, cut_into_shards(encoded, doc_ids, shard_tokens, of_task), docs)
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
    """JSON: settings, versions and lm_eval's task configs, for people and for result files."""

    @property
    def plan_id(self) -> str:
        """Hash of requests and docs, of how metrics are computed from scores, and by which versions."""
        counting = [self.settings["counting"], self.settings.get("configs"), self.counted_by]
        parts = [self.tokenizer_id, str(self.max_length), json.dumps(counting, sort_keys=True)]
        parts += [part for task in self.tasks for part in (task.task_id, task.docs_id)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    @property
    def counted_by(self) -> list[Any]:
        """Versions of the code that computes metrics: lm_eval's, and that of Milepost's own metrics."""
        return [self.settings.get("versions", {}).get("lm_eval"), METRICS_VERSION]

    def counting_id(self, task: TaskPlan) -> str:
        """Return a hash of how one task's metrics are computed; part of the name of its docs' values."""
        counting = self.settings["counting"].get("tasks", {}).get(task.name)
        text = json.dumps([counting, self.counted_by], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def n_tokens(self) -> int:
        """Tokens of all requests, read and (at most) generated, without sharing."""
        return sum(task.n_tokens for task in self.tasks)

    @property
    def n_requests(self) -> int:
        return sum(task.encoded.n_requests for task in self.tasks)

    @property
    def generates_text(self) -> bool:
        """True if a request is a prompt to continue."""
        return any(task.generations.settings for task in self.tasks)

    def without_docs(self) -> Plan:
        """Return the plan without docs and what engines cache, for a worker, which needs neither."""
        tasks = tuple(replace(task, docs=Docs(), _sequences={}) for task in self.tasks)
        return replace(self, tasks=tasks)

    def longest_scored(self) -> Sequences | None:
        """Return the scored sequences of the shard with the longest one; None if nothing is scored."""
        most, longest = 0, None
        for task in self.tasks:
            sequences = task.encoded.sequences
            lengths = np.where(sequences.n_targets > 0, np.diff(sequences.starts), 0)
            if lengths.max(initial=0) > most:
                most, longest = int(lengths.max()), (task, int(lengths.argmax()))
        if longest is None:
            return None
        task, place = longest
        return next(task.sequences_of(shard) for shard in task.shards if place < shard.last_sequence)


def _task_id(name: str, shards: tuple[Shard, ...], docs: dict[str, list[Any]]) -> str:
    parts = ["milepost task 1", name, *(without_tokenizer(shard.shard_id) for shard in shards)]
    parts += [*docs["doc_hash"], *docs["target_hash"]]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _docs_id(task_id: str, docs: dict[str, list[Any]], offers: list[Offer] | None) -> str:
    digest = hashlib.sha256(b"milepost docs 1\0" + task_id.encode())
    for column in sorted(docs):
        digest.update(json.dumps([column, docs[column]], default=str).encode())
    choices = [
        {name: value for name, value in asdict(offer).items() if value is not None} for offer in offers or ()
    ]
    digest.update(json.dumps(choices, default=str).encode())
    return digest.hexdigest()[:32]
