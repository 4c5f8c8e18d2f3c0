"""Score the shards that a checkpoint lacks and store each as soon as it is complete."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from milepost.run.scoring.record_writer import RecordWriter
from milepost.run.target import RAISED, PlannedShard
from milepost.store.leases import Leases
from milepost.store.tables import looks_whole

if TYPE_CHECKING:
    from milepost.run.scoring.inference import Inference
    from milepost.run.scoring.jobs import CheckpointJob
    from milepost.types.shard_answers import ShardAnswers

LOOK_AGAIN_S = 0.5
"""Pause of a process that has nothing left before it looks again for what the others have done."""

logger = logging.getLogger("milepost.run")


def score_shards(
    job: CheckpointJob,
    inference: Inference,
    leases: Leases,
    made: Mapping[str, Any],
    stored: Callable[[PlannedShard], None],
    share: bool = False,
) -> int:
    """Score and store the missing shards of a job; returns the number that this process scored.

    A shard is written once it is complete, so an interrupt costs at most those under way: one, or where the
    engine joins shards those that a pass of it holds parts of. Shards that other processes have under way are
    left to them, and scored here if they do not come.

    Args:
        made: kept with each shard, to say how it came about.
        stored: called with each shard that this process scored; its record follows at once.
        share: take one shard at a time, so that other processes can take others.
    """
    scorer = _Scorer(job, inference, leases, made, stored)
    n_scored = 0
    missing = job.missing
    while missing:
        n_now, others = scorer.score(missing, share=share)
        n_scored += n_now
        missing = job.target.missing_shards(others) if others else ()
        if missing and not n_now:
            time.sleep(LOOK_AGAIN_S)
    return n_scored


@dataclass(frozen=True, slots=True)
class _Scorer:
    job: CheckpointJob
    inference: Inference
    leases: Leases
    made: Mapping[str, Any]
    stored: Callable[[PlannedShard], None]

    def score(self, missing: Sequence[PlannedShard], *, share: bool) -> tuple[int, list[PlannedShard]]:
        """Score the shards that are free; returns their number and those that other processes have."""
        n_scored, others = 0, list[PlannedShard]()
        if self.inference.joins_shards and not share:
            joined = [(task, shard) for task, shard in missing if not task.generates_text(shard)]
            n_scored, others = self._score_joined(joined)
            missing = [(task, shard) for task, shard in missing if task.generates_text(shard)]
        for planned in missing:
            n_now, is_free = self._score_alone(planned)
            n_scored += n_now
            others += [] if is_free else [planned]
        return n_scored, others

    def _score_alone(self, planned: PlannedShard) -> tuple[int, bool]:
        """Score one shard; returns the number scored, and whether no other process has it."""
        task, shard = planned
        target = self.job.target
        path = target.score_path(shard)
        with self.leases.hold(target.unit + shard.shard_id) as is_ours:
            if not is_ours or looks_whole(path):
                return 0, is_ours
            answers = self.inference.answer(task, shard)
            note = self._note(planned, answers)
            if looks_whole(path):
                return 0, True  # another process took over while this one was stopped
            target.results.write_scores(path, answers, note)
            self.stored(planned)
        return 1, True

    def _score_joined(self, missing: Sequence[PlannedShard]) -> tuple[int, list[PlannedShard]]:
        """Score the shards that are free as one stream; returns as `score`.

        Each shard is stored when it is complete. All are leased before the first is scored, as a pass of the
        engine has parts of several. A lease is given back when its shard is stored, or at the end.
        """
        target = self.job.target
        others = []
        with ExitStack() as every:
            ours: list[tuple[PlannedShard, ExitStack]] = []
            for task, shard in missing:
                lease = every.enter_context(ExitStack())
                if not lease.enter_context(self.leases.hold(target.unit + shard.shard_id)):
                    others.append((task, shard))
                elif not looks_whole(target.score_path(shard)):
                    ours.append(((task, shard), lease))
            writer = every.enter_context(RecordWriter())
            joined = self.inference.answer_joined([planned for planned, _ in ours])
            stream = every.enter_context(closing(joined))
            for (planned, lease), answers in zip(ours, stream, strict=True):
                task, shard = planned
                path, note = target.score_path(shard), self._note(planned, answers)
                self.stored(planned)
                if looks_whole(path):
                    lease.close()  # another process took over while this one was stopped
                    continue
                content = partial(target.results.scores_bytes, path, answers, note)
                writer.write(path, content, then=lease.close)
        return len(ours), others

    def _note(self, planned: PlannedShard, answers: ShardAnswers) -> dict[str, Any]:
        """Say how a shard came about, with the requests on which the model raised; warns of those."""
        task, shard = planned
        note = {**self.made, "engine": self.inference.name_for(task, shard), "time": time.time()}
        if answers.failed:
            number = min(answers.failed)
            first = f"doc {task.doc_ids[shard.first + number]}, request {shard.first + number}"
            reason = f"{first}: the model raised {answers.failed[number]}"
            note[RAISED] = {"requests": len(answers.failed), "first": reason}
            logger.warning(
                "%s, %s (%d such of %d requests)",
                task.name,
                reason,
                len(answers.failed),
                shard.last - shard.first,
            )
        return note
