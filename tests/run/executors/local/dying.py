"""Workers that die or hang at a shard, as one that takes too much memory, crashes a kernel or never ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from milepost.errors import TaskError
from milepost.plan.plan import TaskPlan
from milepost.plan.shards import Shard
from milepost.run.executors import heartbeat
from milepost.run.executors.local import process
from milepost.run.executors.metrics_help import MetricsHelp
from milepost.run.plans import stored_tasks
from milepost.run.scoring.inference import Inference
from milepost.types.shard_answers import ShardAnswers

work = process.work
answer = Inference.answer


def work_with(before: Callable[[TaskPlan, Shard], None], arguments: tuple[Any, ...]) -> None:
    """Be a worker that calls `before` ahead of each shard."""

    def answer_then(inference: Inference, task: TaskPlan, shard: Shard) -> ShardAnswers:
        before(task, shard)
        return answer(inference, task, shard)

    with patch.object(Inference, "answer", answer_then), patch.object(heartbeat, "BEAT_S", 0.2):
        work(*arguments)


def is_bad(task: TaskPlan, shard: Shard) -> bool:
    """Return whether a shard is the second one of `who`."""
    return task.name == "who" and task.shards.index(shard) == 1


def has_happened(what: str) -> bool:
    """Return whether this is the second time, among all workers of a test."""
    note = Path(os.environ["MILEPOST_CACHE"]) / what
    try:
        note.touch(exist_ok=False)
    except FileExistsError:
        return True
    return False


def segfault_at_a_shard(*arguments: Any) -> None:
    """Be a worker that crashes whenever it comes to one shard."""
    work_with(
        lambda task, shard: os.kill(os.getpid(), signal.SIGSEGV) if is_bad(task, shard) else None, arguments
    )


def be_killed_at_a_shard(*arguments: Any) -> None:
    """Be a worker that is killed whenever it comes to one shard, as in a container without memory."""
    work_with(
        lambda task, shard: os.kill(os.getpid(), signal.SIGKILL) if is_bad(task, shard) else None, arguments
    )


def be_killed_once(*arguments: Any) -> None:
    """Be a worker that is killed at its third shard, unless one was before."""
    n_answered = 0

    def be_killed(task: TaskPlan, shard: Shard) -> None:
        nonlocal n_answered
        n_answered += 1
        if n_answered == 3 and not has_happened("killed-once"):
            os.kill(os.getpid(), signal.SIGKILL)

    work_with(be_killed, arguments)


def be_stopped_once(*arguments: Any) -> None:
    """Be a worker that is stopped at a shard, unless one was before."""

    def stop(task: TaskPlan, shard: Shard) -> None:
        if is_bad(task, shard) and not has_happened("stopped-once"):
            os.kill(os.getpid(), signal.SIGSTOP)

    work_with(stop, arguments)


def wait_for_ever_once(*arguments: Any) -> None:
    """Be a worker in a deadlock at a shard, unless one was before."""

    def wait(task: TaskPlan, shard: Shard) -> None:
        if is_bad(task, shard) and not has_happened("waited-once"):
            threading.Event().wait()

    work_with(wait, arguments)


def be_killed_at_metrics(*arguments: Any) -> None:
    """Be a worker that is killed when it computes metrics."""
    with patch.object(MetricsHelp, "compute", lambda *_: os.kill(os.getpid(), signal.SIGKILL)):
        work(*arguments)


def have_no_tasks(*arguments: Any) -> None:
    """Be a worker that cannot load tasks, whose data were removed meanwhile."""
    with patch.object(stored_tasks, "load_stored_tasks", side_effect=TaskError("the data are gone")):
        work(*arguments)


def die_at_start(*arguments: Any) -> None:
    """Be a worker that never joins."""
    os._exit(3)
