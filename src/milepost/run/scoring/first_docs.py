"""Estimate the time of a run from its first docs, and ask for confirmation.

The docs are answered once more with their shard: that costs seconds, of a run that takes minutes. An engine
that joins shards (a GPU's) compiles its first pass and pads each one, so that a few docs say nothing of its
speed: there whole shards are answered twice, and the second time counts.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from milepost.errors import MilepostError
from milepost.run.display.timing import LONG_S
from milepost.text.durations import format_duration, time_left
from milepost.text.language import _

if TYPE_CHECKING:
    from milepost.run.display.progress import Progress
    from milepost.run.display.timing import Clock, LongRunPolicy
    from milepost.run.scoring.inference import Inference
    from milepost.run.target import PlannedShard

FEW_WORK = 100_000
"""Skip the estimate below so much work."""
FEW_OPERATIONS = 2e13
"""Skip it also below so many additions and multiplications with the model's parameters: one core does them in
about a minute. Should it take longer, the first shards show it."""
MOST_TASKS = 4
"""Time the tasks with most tokens; the others are taken to be as fast."""
DOCS = (1, 8, 32)
"""Numbers of docs to time, until the time is clear; the first twice, since a first call does more."""
JOINED_TOKENS = 262_144
"""Tokens of the whole shards to time: some full passes of a GPU."""
ENOUGH_S = 2.0
ASK_S = 600.0
"""A person is asked before a run of this length."""


def check_run_time(
    inference: Inference,
    n_parameters: int | None,
    missing: Sequence[PlannedShard],
    progress: Progress,
    policy: LongRunPolicy,
) -> None:
    """Say how long the run takes if that is long, and ask whether to begin where `policy` says so.

    Args:
        n_parameters: of the model; None where it is on a server.
        missing: shards of the checkpoint that `inference` has in memory.

    Raises:
        MilepostError: the answer was no.
    """
    clock = progress.clock
    n_operations = math.inf if n_parameters is None else 2 * n_parameters * clock.all_work
    if clock.all_work < FEW_WORK or n_operations < FEW_OPERATIONS:
        _warm_up(inference, missing)
        return
    basis = time_first_docs(inference, missing, clock)
    progress.note_left()
    left_s = clock.left_s
    if basis is None or left_s is None:
        return
    clock.has_announced = True
    with progress.pause():
        print(time_left(left_s, basis), file=sys.stderr, flush=True)
        if policy.ask and left_s >= ASK_S:
            _confirm()


def _warm_up(inference: Inference, missing: Sequence[PlannedShard]) -> None:
    """Answer a doc, so that the trial of the engine and other first-time work are not in the first shard."""
    if missing and not inference.joins_shards:
        task, shard = missing[0]
        inference.answer(task, task.first_docs(shard, 1))


def time_first_docs(inference: Inference, missing: Sequence[PlannedShard], clock: Clock) -> str | None:
    """Time the first docs of the largest tasks and tell the clock what speeds to expect.

    Returns:
        The basis of the estimate (`8 docs of arc_easy took 2.1 s`); None where the run takes under a minute.
    """
    samples = _samples(inference, missing)
    for sample in samples:
        # A model is tried out once for log-likelihoods, but for texts on each task's prompts.
        if sample is samples[0] or sample.generates_text:
            sample.answer(DOCS[0])
    for n_docs in DOCS:
        for sample in samples:
            sample.answer(n_docs)
        clock.speeds.expected = {task: sample.s_per_work for sample in samples for task in sample.tasks}
        if (clock.left_s or 0.0) < LONG_S:
            return None  # more docs take less time each, so the whole takes less than that
        if sum(sample.seconds for sample in samples) > ENOUGH_S or all(sample.is_whole for sample in samples):
            break
    return ", ".join(str(sample) for sample in samples)


class _Sample(Protocol):
    """A few docs that stand for many."""

    seconds: float
    """Time of the last answer."""

    @property
    def tasks(self) -> Collection[str]:
        """Return the names of the tasks that the sample represents."""
        ...

    @property
    def generates_text(self) -> bool: ...

    @property
    def is_whole(self) -> bool:
        """Return whether the sample has no more docs to add."""
        ...

    @property
    def s_per_work(self) -> float:
        """Return the seconds per work; see `TaskPlan.work_of`."""
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
        sizes = np.cumsum([task.work_of(shard) for task, shard in shards])
        self.tasks = {task.name for task, _ in shards}
        n_shards = min(int(np.searchsorted(sizes, JOINED_TOKENS)) + 1, len(shards))
        self._few, self._few_tokens = shards[:n_shards], int(sizes[n_shards - 1])
        self.seconds = 0.0

    def answer(self, n_docs: int) -> None:
        """Answer the shards, however many docs they have; the first call's time includes compilation."""
        start = time.monotonic()
        for _task in self._inference.answer_joined(self._few):
            pass
        self.seconds = time.monotonic() - start

    @property
    def s_per_work(self) -> float:
        return self.seconds / self._few_tokens

    def __str__(self) -> str:
        return f"{self._few_tokens:,} tokens took {format_duration(self.seconds)} once compiled"


class _FirstDocs:
    """The first docs of a task."""

    def __init__(self, inference: Inference, shards: Sequence[PlannedShard]) -> None:
        self._inference = inference
        self._task, self._shard = shards[0]
        self.tasks = (self._task.name,)
        self._few = self._shard
        self.seconds = 0.0

    @property
    def generates_text(self) -> bool:
        return bool(self._task.generations.settings)

    def answer(self, n_docs: int) -> None:
        self._few = self._task.first_docs(self._shard, n_docs)
        start = time.monotonic()
        self._inference.answer(self._task, self._few)
        self.seconds = time.monotonic() - start

    @property
    def is_whole(self) -> bool:
        return self._few.last == self._shard.last

    @property
    def s_per_work(self) -> float:
        return self.seconds / self._task.work_of(self._few)

    def __str__(self) -> str:
        n_docs = len(np.unique(self._task.doc_ids[self._few.first : self._few.last]))
        docs = "1 doc" if n_docs == 1 else f"{n_docs} docs"
        return f"{docs} of {self._task.name} took {format_duration(self.seconds)}"


def _largest_tasks(missing: Sequence[PlannedShard]) -> list[Sequence[PlannedShard]]:
    """Return the missing shards of the tasks with most tokens, task by task, in the order of the plan."""
    of_task: dict[str, list[PlannedShard]] = {}
    for task, shard in missing:
        of_task.setdefault(task.name, []).append((task, shard))
    largest = sorted(of_task, key=lambda name: _work(of_task[name]))[-MOST_TASKS:]
    return [shards for name, shards in of_task.items() if name in largest]


def _work(shards: Sequence[PlannedShard]) -> int:
    return sum(task.work_of(shard) for task, shard in shards)


def _confirm() -> None:
    print(_("go on? [Y/n] "), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("n", "no"):
        raise MilepostError(
            "not begun", "--detach goes on without this terminal, --limit asks fewer docs, --yes does not ask"
        )
