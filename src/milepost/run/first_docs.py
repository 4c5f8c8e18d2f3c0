"""Estimate the time of a run from its first docs, and ask for confirmation.

The docs are answered once more with their shard: that costs seconds, of a run that takes minutes. An engine
that joins shards (a GPU's) compiles its first pass and pads each one, so that a few docs say nothing of its
speed: there whole shards are answered twice, and the second time counts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from milepost.errors import MilepostError
from milepost.run.timing import LONG_S, format_duration, time_left

if TYPE_CHECKING:
    from milepost.plan.plan import TaskPlan
    from milepost.plan.shards import Shard
    from milepost.run.inference import Inference
    from milepost.run.progress import Progress
    from milepost.run.target import PlannedShard
    from milepost.run.timing import LongRunPolicy

FEW_TOKENS = 200_000
"""Skip the estimate below this many tokens."""
MOST_TASKS = 4
"""Time the tasks with most tokens; the others are taken to be as fast."""
DOCS = (1, 8, 32)
"""Numbers of docs to time, until the time is clear; the first twice, since a first call does more."""
JOINED_TOKENS = 262_144
"""Tokens of the whole shards to time: some full passes of a GPU."""
ENOUGH_S = 2.0
ASK_S = 600.0
"""A person is asked before a run of this length."""


class DocsTime(NamedTuple):
    """The time that the first docs took."""

    s_per_token: float
    basis: str
    """`8 docs of arc_easy took 2.1 s`"""


def check_run_time(
    inference: Inference, missing: Sequence[PlannedShard], progress: Progress, policy: LongRunPolicy
) -> None:
    """Say how long the run takes if that is long, and ask whether to begin where `policy` says so.

    Args:
        missing: shards of the checkpoint that `inference` has in memory.

    Raises:
        MilepostError: the answer was no.
    """
    n_tokens = progress.clock.tokens_left * (1 + policy.models_after)
    measured = time_first_docs(inference, missing, n_tokens) if n_tokens >= FEW_TOKENS else None
    if measured is None:
        return
    progress.clock.expect(measured.s_per_token)
    progress.clock.has_announced = True
    left_s = measured.s_per_token * n_tokens
    with progress.pause():
        print(time_left(left_s, measured.basis), file=sys.stderr, flush=True)
        if policy.ask and left_s >= ASK_S:
            _confirm()


def time_first_docs(inference: Inference, missing: Sequence[PlannedShard], n_tokens: int) -> DocsTime | None:
    """Time the first docs of the largest tasks; None where `n_tokens` take less than a minute."""
    samples = _samples(inference, missing)
    for sample in samples:
        # A model is tried out once for log-likelihoods, but for texts on each task's prompts.
        if sample is samples[0] or sample.generates_text:
            sample.answer(DOCS[0])
    n_sampled = sum(sample.n_tokens for sample in samples)
    s_per_token = 0.0
    for n_docs in DOCS:
        for sample in samples:
            sample.answer(n_docs)
        s_per_token = sum(sample.seconds_of_all for sample in samples) / n_sampled
        if s_per_token * n_tokens < LONG_S:
            return None  # more docs share more, so the whole takes less than that
        if sum(sample.seconds for sample in samples) > ENOUGH_S or all(sample.is_whole for sample in samples):
            break
    return DocsTime(s_per_token, ", ".join(str(sample) for sample in samples))


class _Sample(Protocol):
    """A few docs that stand for many."""

    n_tokens: int
    """Tokens in all shards that the sample represents."""
    seconds: float
    """Time of the last answer."""

    @property
    def generates_text(self) -> bool: ...

    @property
    def is_whole(self) -> bool:
        """Return whether the sample has no more docs to add."""
        ...

    @property
    def seconds_of_all(self) -> float:
        """Estimated time of all shards that the sample represents."""
        ...

    def answer(self, n_docs: int) -> None:
        """Answer so many docs and keep the time."""
        ...


def _samples(inference: Inference, missing: Sequence[PlannedShard]) -> list[_Sample]:
    if not inference.joins_shards:
        return [_FirstDocs(inference, shards) for shards in _largest_tasks(missing)]
    joined = [(task, shard) for task, shard in missing if not task.generates_text(shard)]
    texts = [(task, shard) for task, shard in missing if task.generates_text(shard)]
    samples: list[_Sample] = [_JoinedShards(inference, joined)] if joined else []
    return samples + [_FirstDocs(inference, shards) for shards in _largest_tasks(texts)]


class _JoinedShards:
    """The first of the shards that are scored as one stream."""

    generates_text = False
    is_whole = True

    def __init__(self, inference: Inference, shards: Sequence[PlannedShard]) -> None:
        self._inference = inference
        sizes = np.cumsum([task.tokens_of(shard.first, shard.last) for task, shard in shards])
        self.n_tokens = int(sizes[-1])
        n_shards = min(int(np.searchsorted(sizes, JOINED_TOKENS)) + 1, len(shards))
        self._few, self._few_tokens = shards[:n_shards], int(sizes[n_shards - 1])
        self.seconds = 0.0

    def answer(self, n_docs: int) -> None:
        """Answer the shards, however many docs they have; the first call's time includes compilation."""
        start = time.monotonic()
        for _ in self._inference.answer_joined(self._few):
            pass
        self.seconds = time.monotonic() - start

    @property
    def seconds_of_all(self) -> float:
        return self.seconds / self._few_tokens * self.n_tokens

    def __str__(self) -> str:
        return f"{self._few_tokens:,} tokens took {format_duration(self.seconds)} once compiled"


class _FirstDocs:
    """The first docs of a task."""

    def __init__(self, inference: Inference, shards: Sequence[PlannedShard]) -> None:
        self._inference = inference
        self._task, self._shard = shards[0]
        self.n_tokens = _n_tokens(shards)
        self._few = self._shard
        self.seconds = 0.0

    @property
    def generates_text(self) -> bool:
        return bool(self._task.generations.settings)

    def answer(self, n_docs: int) -> None:
        self._few = _first_docs(self._task, self._shard, n_docs)
        start = time.monotonic()
        self._inference.answer(self._task, self._few)
        self.seconds = time.monotonic() - start

    @property
    def is_whole(self) -> bool:
        return self._few.last == self._shard.last

    @property
    def seconds_of_all(self) -> float:
        return self.seconds / self._task.tokens_of(self._few.first, self._few.last) * self.n_tokens

    def __str__(self) -> str:
        n_docs = len(np.unique(self._task.doc_ids[self._few.first : self._few.last]))
        docs = "1 doc" if n_docs == 1 else f"{n_docs} docs"
        return f"{docs} of {self._task.name} took {format_duration(self.seconds)}"


def _largest_tasks(missing: Sequence[PlannedShard]) -> list[Sequence[PlannedShard]]:
    """Return the missing shards of the tasks with most tokens, task by task, in the order of the plan."""
    of_task: dict[str, list[PlannedShard]] = {}
    for task, shard in missing:
        of_task.setdefault(task.name, []).append((task, shard))
    largest = sorted(of_task, key=lambda name: _n_tokens(of_task[name]))[-MOST_TASKS:]
    return [shards for name, shards in of_task.items() if name in largest]


def _n_tokens(shards: Sequence[PlannedShard]) -> int:
    return sum(task.tokens_of(shard.first, shard.last) for task, shard in shards)


def _first_docs(task: TaskPlan, shard: Shard, n_docs: int) -> Shard:
    """Return the beginning of a shard, as a shard that is never stored."""
    docs = task.doc_ids[shard.first : shard.last]
    starts = np.flatnonzero(np.diff(docs, prepend=docs[0] - 1))
    last = shard.last if len(starts) <= n_docs else shard.first + int(starts[n_docs])
    last_sequence = int(np.searchsorted(task.encoded.request_of, last))
    return replace(shard, shard_id=f"{shard.shard_id}-{n_docs}", last=last, last_sequence=last_sequence)


def _confirm() -> None:
    print("go on? [Y/n] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("n", "no"):
        raise MilepostError(
            "not begun", "--detach goes on without this terminal, --limit asks fewer docs, --yes does not ask"
        )
