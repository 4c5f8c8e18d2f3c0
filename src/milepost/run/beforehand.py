"""How long a run will take, measured on its first docs before it begins in earnest, and leave to begin.

The few docs are answered once more with their shard: that costs seconds, of a run that is said to be long.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from milepost.errors import MilepostError
from milepost.run.progress import spell

if TYPE_CHECKING:
    from milepost.plan.plan import TaskPlan
    from milepost.plan.shards import Shard
    from milepost.run.answering import Answerer
    from milepost.run.scoring import Target

FEW_TOKENS = 200_000
"""Fewer than so many in all are not worth a measurement."""
DOCS = (1, 8, 32)
"""Answered one after the other until it can be told, the first of them once before, so that what is done only
once is not counted."""
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

    def measure(self, answerer: Answerer, target: Target) -> None:
        """Say what the whole will take if that is long, and ask whether to go on.

        Raises:
            MilepostError: the answer was no.
        """
        missing = target.missing_shards()
        if self._measured or not missing:
            return
        self._measured = True
        task, shard = missing[0]
        answerer.answer(task, _first_docs(task, shard, DOCS[0]))
        for n_docs in DOCS:
            few = _first_docs(task, shard, n_docs)
            start = time.monotonic()
            answerer.answer(task, few)
            seconds = time.monotonic() - start
            left_s = seconds / task.tokens_of(few.first, few.last) * self._n_tokens
            if left_s < TOLD_S:
                return  # more docs share more, so the whole will take less than that
            if seconds > ENOUGH_S or few.last == shard.last:
                break
        with self._aside():
            line = f"about {spell(left_s)} for what is not scored yet, as {n_docs} docs of {task.name} took"
            print(f"{line} {spell(seconds)}", file=sys.stderr, flush=True)
            if self._ask and left_s >= ASKED_S:
                _ask_leave()


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
