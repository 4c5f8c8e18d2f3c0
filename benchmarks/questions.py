"""Real requests as token ids, and the cost of scoring them: raw, grouped and unique tokens, and FLOPs.

Imports of milepost stay inside functions, since the offline hub's address must be in the environment first.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import GPT2, MAX_LENGTH, Shape

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.plan.plan import Plan
    from milepost.types.sequences import Sequences


@dataclass(frozen=True, slots=True)
class Task:
    """A row of the tables: an lm_eval task and its number of examples."""

    name: str
    lm_eval: str
    num_fewshot: int


TASKS = {
    task.name: task
    for task in (
        Task("mmlu-0shot", "mmlu", 0),
        Task("mmlu-5shot", "mmlu", 5),
        Task("hellaswag", "hellaswag", 0),
        Task("arc-easy", "arc_easy", 0),
        Task("piqa", "piqa", 0),
    )
}

GENERATED = {"gsm8k": Task("gsm8k", "gsm8k", 5)}


@dataclass(frozen=True, slots=True)
class Questions:
    """Real requests as token ids: N sequences of whole docs, in lm_eval's order."""

    sequences: Sequences
    task_of: npt.NDArray[np.int32]
    """[N] which lm_eval task (subject of MMLU) each belongs to."""
    doc_of: npt.NDArray[np.int64]
    """[N] the doc within it."""

    def first(self, subjects: int | None, docs: int | None) -> Questions:
        """Return the first docs of the first subjects."""
        from milepost.types.sequences import Sequences

        chosen = np.ones(len(self.doc_of), bool)
        if subjects is not None:
            chosen &= self.task_of < subjects
        if docs is not None:
            chosen &= self.doc_of < docs
        lengths = np.diff(self.sequences.starts)
        return Questions(
            sequences=Sequences(
                tokens=self.sequences.tokens[np.repeat(chosen, lengths)],
                starts=np.concatenate([[0], np.cumsum(lengths[chosen])]),
                n_targets=self.sequences.n_targets[chosen],
            ),
            task_of=self.task_of[chosen],
            doc_of=self.doc_of[chosen],
        )

    @classmethod
    def of_plan(cls, plan: Plan) -> Questions:
        """Return a plan's scored requests, without prompts to continue."""
        from milepost.plan.sequences import take
        from milepost.types.sequences import Sequences

        parts, task_of, doc_of = [], [], []
        for number, task in enumerate(plan.tasks):
            scored = np.flatnonzero(task.encoded.sequences.n_targets)
            parts.append(take(task.encoded.sequences, scored))
            task_of.append(np.full(len(scored), number, np.int32))
            doc_of.append(task.doc_ids[task.encoded.request_of[scored]])
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            sequences=Sequences(
                tokens=np.concatenate([part.tokens for part in parts]),
                starts=np.concatenate([[0], np.cumsum(lengths)]),
                n_targets=np.concatenate([part.n_targets for part in parts]),
            ),
            task_of=np.concatenate(task_of),
            doc_of=np.concatenate(doc_of),
        )


def real_questions(task: Task, folder: Path | None = None) -> Questions:
    """Return all of a task's requests as Milepost plans them, or from a plan in `folder`."""
    from milepost.plan.plan_files import load_plan

    return Questions.of_plan(_plan(task) if folder is None else load_plan(folder / task.name))


def _plan(task: Task) -> Plan:
    from transformers import AutoTokenizer

    from milepost.plan.shards import DEFAULT_SHARD_TOKENS
    from milepost.run.display.journal import Journal
    from milepost.run.plans.planning import make_plan
    from milepost.tasks.question_source import ModelTraits
    from milepost.tasks.settings import TaskSettings

    with Journal() as journal:
        settings = TaskSettings(names=(task.lm_eval,), num_fewshot=task.num_fewshot)
        models = ModelTraits(
            load_tokenizer=lambda: AutoTokenizer.from_pretrained(GPT2),
            tokenizer_id=GPT2,
            max_length=MAX_LENGTH,
        )
        return make_plan(settings, models, journal, shard_tokens=DEFAULT_SHARD_TOKENS).plan


@dataclass(frozen=True, slots=True)
class Work:
    """The cost of scoring sequences with and without sharing."""

    raw: int
    grouped: int
    unique: int
    needed: int
    """Rows of logits that predict a target, each once."""
    grouped_pairs: int
    """Query-key pairs of attention over the grouped inputs."""
    unique_pairs: int
    """The same over unique tokens."""

    @classmethod
    def of(cls, sequences: Sequences) -> Work:
        from milepost.plan.tree import build_tree

        tree = build_tree(sequences)
        starts = sequences.starts.tolist()
        inputs = {sequences.tokens[a : b - 1].tobytes(): b - 1 - a for a, b in pairwise(starts)}
        return cls(
            raw=starts[-1] - len(sequences),
            grouped=sum(inputs.values()),
            unique=len(tree),
            needed=len(np.unique(tree.wanted_node)),
            grouped_pairs=sum(n * (n + 1) // 2 for n in inputs.values()),
            unique_pairs=int((tree.pos.astype(np.int64) + 1).sum()),
        )

    def harness_flops(self, shape: Shape) -> int:
        """FLOPs of lm_eval: every distinct input, logits at every position, without padding."""
        return self.grouped * (shape.linear_flops + shape.head_flops)

    def least_flops(self, shape: Shape) -> int:
        """FLOPs of every distinct prefix once, with logits where a target is predicted."""
        return self.unique * shape.linear_flops + self.needed * shape.head_flops

    def flop_ratio(self, shape: Shape) -> float:
        """Ratio of the two, without the products of attention."""
        return self.harness_flops(shape) / self.least_flops(shape)

    def flop_ratio_with_attention(self, shape: Shape) -> float:
        theirs = self.harness_flops(shape) + self.grouped_pairs * shape.pair_flops
        return theirs / (self.least_flops(shape) + self.unique_pairs * shape.pair_flops)
