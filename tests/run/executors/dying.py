"""Workers that die of a shard, as one that takes too much memory or crashes a kernel."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from unittest import mock

from milepost.run.executors import local_workers
from milepost.run.inference import Inference
from milepost.types.shard_answers import ShardAnswers

work = local_workers._work
answer = Inference.answer


def die_of_a_shard(*arguments: Any) -> None:
    """Be a worker that segfaults whenever it scores the second shard of `who`."""

    def answer_or_die(inference: Inference, task: Any, shard: Any) -> ShardAnswers:
        if task.name == "who" and task.shards.index(shard) == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        return answer(inference, task, shard)

    with mock.patch.object(Inference, "answer", answer_or_die):
        work(*arguments)


def die_once(*arguments: Any) -> None:
    """Be a worker that is killed at its third shard, unless one was before."""
    note = Path(os.environ["MILEPOST_CACHE"]) / "died-once"
    n_answered = 0

    def answer_or_die(inference: Inference, task: Any, shard: Any) -> ShardAnswers:
        nonlocal n_answered
        n_answered += 1
        if n_answered == 3 and not note.exists():
            note.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return answer(inference, task, shard)

    with mock.patch.object(Inference, "answer", answer_or_die):
        work(*arguments)


def die_at_start(*arguments: Any) -> None:
    """Be a worker that never joins."""
    os._exit(3)
