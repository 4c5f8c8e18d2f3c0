"""Score the shards that a checkpoint lacks and store each as soon as it is complete."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

from milepost.plan.plan import TaskPlan
from milepost.plan.shards import Shard
from milepost.run.record_writer import RecordWriter
from milepost.run.target import RAISED, Target
from milepost.store.leases import Leases
from milepost.store.tables import looks_whole

if TYPE_CHECKING:
    from milepost.run.inference import Inference, ShardAnswers
    from milepost.run.progress import Progress

LOOK_AGAIN_S = 0.5
"""How often a process that has nothing left looks whether the others are done."""

logger = logging.getLogger("milepost.run")


def score_shards(
    target: Target,
    inference: Inference,
    progress: Progress,
    leases: Leases,
    made: Mapping[str, Any],
    share: bool = False,
) -> int:
    """Score and store the shards that are not there yet; how many this process did.

    A shard is written once it is complete, so an interrupt costs at most those under way: one, or where the
    engine joins shards those that a pass of it holds parts of. Shards that other processes have under way are
    left to them, and waited for in case they do not come.

    Args:
        made: kept with each shard, to say how it came about.
        share: take one shard at a time, so that other processes can take others.
    """
    n_scored = 0
    while missing := target.missing_shards():
        n_now = 0
        if inference.joins_shards and not share:
            joined = [(task, shard) for task, shard in missing if not task.asks_texts(shard)]
            n_now += _score_joined(target, inference, joined, progress, leases, made)
            missing = [(task, shard) for task, shard in missing if task.asks_texts(shard)]
        for task, shard in missing:
            with leases.hold(target.unit + shard.shard_id) as ours:
                if ours and not looks_whole(target.score_path(shard)):
                    answers = inference.answer(task, shard)
                    path, note = target.score_path(shard), _note(inference, task, shard, made, answers)
                    if looks_whole(path):
                        continue  # another process took over while this one was stopped
                    target.results.write_scores(
                        path, answers.loglikelihood, answers.greedy, note, generated=answers.generated
                    )
                    n_now += 1
                    progress.advance(task.tokens_of(shard.first, shard.last))
        n_scored += n_now
        if target.missing_shards() and not n_now:
            time.sleep(LOOK_AGAIN_S)
    return n_scored


def _score_joined(
    target: Target,
    inference: Inference,
    missing: Sequence[tuple[TaskPlan, Shard]],
    progress: Progress,
    leases: Leases,
    made: Mapping[str, Any],
) -> int:
    """Score those of the shards that nobody else has as one stream; each is stored when it is complete.

    They are all leased before the first is scored, as a pass of the engine has parts of several. Each lease
    is given back when its shard is stored, the rest however this ends.
    """
    with ExitStack() as every:
        ours: list[tuple[TaskPlan, Shard, ExitStack]] = []
        for task, shard in missing:
            lease = every.enter_context(ExitStack())
            free = lease.enter_context(leases.hold(target.unit + shard.shard_id))
            if free and not looks_whole(target.score_path(shard)):
                ours.append((task, shard, lease))
        writer = every.enter_context(RecordWriter())
        joined = inference.answer_joined([(task, shard) for task, shard, _ in ours])
        answers = every.enter_context(closing(joined))
        for (task, shard, lease), found in zip(ours, answers, strict=True):
            path, note = target.score_path(shard), _note(inference, task, shard, made, found)
            progress.advance(task.tokens_of(shard.first, shard.last))
            if looks_whole(path):
                lease.close()  # another process took over while this one was stopped
                continue
            content = partial(target.results.scores_bytes, path, found.loglikelihood, found.greedy, note)
            writer.write(path, content, then=lease.close)
    return len(ours)


def _note(
    inference: Inference, task: TaskPlan, shard: Shard, made: Mapping[str, Any], answers: ShardAnswers
) -> dict[str, Any]:
    """How a shard came about; requests on which the model raised are named in it, and told."""
    note = {**made, "engine": inference.name_for(task, shard), "time": time.time()}
    if answers.failed:
        number = min(answers.failed)
        first = f"doc {task.doc_ids[shard.first + number]}, request {shard.first + number}"
        said = f"{first}: the model raised {answers.failed[number]}"
        note[RAISED] = {"requests": len(answers.failed), "first": said}
        logger.warning(
            "%s, %s (%d such of %d requests)", task.name, said, len(answers.failed), shard.last - shard.first
        )
    return note
