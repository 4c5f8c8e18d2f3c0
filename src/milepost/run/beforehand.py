"""How long a run will take, measured on its first docs before it begins in earnest, and leave to begin.

The few docs are answered once more with their shard: that costs seconds, of a run that is said to be long.
An engine that joins shards (a GPU's) compiles its first pass and fills each with padding, so that a few docs
say nothing of its speed: there whole shards are answered, and timed the second time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from milepost.errors import MilepostError
from milepost.run.timing import format_duration

if TYPE_CHECKING:
    from milepost.plan.plan import TaskPlan
    from milepost.plan.shards import Shard
    from milepost.run.inference import Inference
    from milepost.run.target import Target

    Shards = Sequence[tuple[TaskPlan, Shard]]

FEW_TOKENS = 200_000
"""Fewer than so many in all are not worth a measurement."""
MOST_TASKS = 4
"""Measured are the tasks with most tokens; the others are taken to go at their pace."""
DOCS = (1, 8, 32)
"""Answered one after the other until it can be told; the first once before, so that what is done only once is
not counted."""
JOINED_TOKENS = 262_144
"""Of whole shards, before sharing: some full passes of a GPU."""
ENOUGH_S = 2.0
TOLD_S = 60.0
ASKED_S = 600.0
"""From so long a run on a person is asked."""


class Beforehand:
    """Measures once, when the first model is in memory."""

    def __init__(
        self, n_tokens: int, *, ask: bool, aside: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """`n_tokens` are left in all; `ask` is whether somebody is there to be asked; `aside` is where it is
        said."""
        self._n_tokens = n_tokens
        self._ask = ask
        self._aside = aside
        self._measured = n_tokens < FEW_TOKENS

    def measure(self, inference: Inference, target: Target) -> None:
        """Say what the whole will take if that is long, and ask whether to go on.

        Raises:
            MilepostError: the answer was no.
        """
        missing = target.missing_shards()
        if self._measured or not missing:
            return
        self._measured = True
        samples = _samples(inference, missing)
        for one in samples:
            # A model is tried out once for log-likelihoods, but for texts on each task's prompts.
            if one is samples[0] or one.asks_texts:
                one.take(DOCS[0])
        n_sampled = sum(one.n_tokens for one in samples)
        for n_docs in DOCS:
            for one in samples:
                one.take(n_docs)
            left_s = sum(one.seconds_of_all for one in samples) * self._n_tokens / n_sampled
            if left_s < TOLD_S:
                return  # more docs share more, so the whole will take less than that
            if sum(one.seconds for one in samples) > ENOUGH_S or all(one.is_whole for one in samples):
                break
        with self._aside():
            told = ", ".join(str(one) for one in samples)
            print(
                f"about {format_duration(left_s)} for what is not scored yet, as {told}",
                file=sys.stderr,
                flush=True,
            )
            if self._ask and left_s >= ASKED_S:
                _ask_leave()


def _samples(inference: Inference, missing: Shards) -> list[_Sample | _Joined]:
    if not inference.joins_shards:
        return [_Sample(inference, shards) for shards in _largest_tasks(missing)]
    joined = [(task, shard) for task, shard in missing if not task.asks_texts(shard)]
    texts = [(task, shard) for task, shard in missing if task.asks_texts(shard)]
    found: list[_Sample | _Joined] = [_Joined(inference, joined)] if joined else []
    return found + [_Sample(inference, shards) for shards in _largest_tasks(texts)]


class _Joined:
    """The first shards of all that are scored as one stream, answered to see how long that takes."""

    asks_texts = False
    is_whole = True
    """Whether more docs would say no more."""

    def __init__(self, inference: Inference, shards: Shards) -> None:
        self._inference = inference
        sizes = np.cumsum([task.tokens_of(shard.first, shard.last) for task, shard in shards])
        self.n_tokens = int(sizes[-1])
        """Of all that the shards stand for."""
        n_shards = min(int(np.searchsorted(sizes, JOINED_TOKENS)) + 1, len(shards))
        self._few, self._few_tokens = shards[:n_shards], int(sizes[n_shards - 1])
        self.seconds = 0.0

    def take(self, n_docs: int) -> None:
        """Answer the shards, however many docs they have; what the first call takes includes compilation."""
        start = time.monotonic()
        for _ in self._inference.answer_joined(self._few):
            pass
        self.seconds = time.monotonic() - start

    @property
    def seconds_of_all(self) -> float:
        return self.seconds / self._few_tokens * self.n_tokens

    def __str__(self) -> str:
        return f"{self._few_tokens:,} tokens took {format_duration(self.seconds)} once compiled"


class _Sample:
    """The first docs of a task, answered to see how long that takes."""

    def __init__(self, inference: Inference, shards: Shards) -> None:
        self._inference = inference
        self._task, self._shard = shards[0]
        self.n_tokens = sum(task.tokens_of(shard.first, shard.last) for task, shard in shards)
        """Of all that the docs stand for."""
        self._few = self._shard
        self.seconds = 0.0

    @property
    def asks_texts(self) -> bool:
        return bool(self._task.generations.settings)

    def take(self, n_docs: int) -> None:
        self._few = _first_docs(self._task, self._shard, n_docs)
        start = time.monotonic()
        self._inference.answer(self._task, self._few)
        self.seconds = time.monotonic() - start

    @property
    def is_whole(self) -> bool:
        """Whether there are no more docs in the shard."""
        return self._few.last == self._shard.last

    @property
    def seconds_of_all(self) -> float:
        return self.seconds / self._task.tokens_of(self._few.first, self._few.last) * self.n_tokens

    def __str__(self) -> str:
        n_docs = len(np.unique(self._task.doc_ids[self._few.first : self._few.last]))
        docs = "1 doc" if n_docs == 1 else f"{n_docs} docs"
        return f"{docs} of {self._task.name} took {format_duration(self.seconds)}"


def _largest_tasks(missing: Shards) -> list[Shards]:
    """The missing shards of the tasks with most tokens, task by task, in the order of the plan."""
    of_task: dict[str, list[tuple[TaskPlan, Shard]]] = {}
    for task, shard in missing:
        of_task.setdefault(task.name, []).append((task, shard))

    def n_tokens(name: str) -> int:
        return sum(task.tokens_of(shard.first, shard.last) for task, shard in of_task[name])

    largest = sorted(of_task, key=n_tokens)[-MOST_TASKS:]
    return [shards for name, shards in of_task.items() if name in largest]


def _first_docs(task: TaskPlan, shard: Shard, n_docs: int) -> Shard:
    """The beginning of a shard, as a shard that is never stored."""
    docs = task.doc_ids[shard.first : shard.last]
    starts = np.flatnonzero(np.diff(docs, prepend=docs[0] - 1))
    last = shard.last if len(starts) <= n_docs else shard.first + int(starts[n_docs])
    last_sequence = int(np.searchsorted(task.encoded.request_of, last))
    return replace(shard, shard_id=f"{shard.shard_id}-{n_docs}", last=last, last_sequence=last_sequence)


def _ask_leave() -> None:
    print("go on? [Y/n] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("n", "no"):
        raise MilepostError(
            "not begun", "--detach goes on without this terminal, --limit asks fewer docs, --yes does not ask"
        )
