"""Run the requests of a shard through the engines: some are scored, others continued."""

from __future__ import annotations

import math
from collections import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from milepost.plan.encode import as_sequences
from milepost.plan.plan import KINDS, Plan, TaskPlan
from milepost.plan.shards import Shard, requests_of, shard_sequences
from milepost.types.shard_answers import ShardAnswers
from milepost.types.token_answers import TokenAnswer

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine import Engine, Generator
    from milepost.engine.gpu_path import GpuPath
    from milepost.types.generation import Generation
    from milepost.types.sequences import Scores

    Texts = list[list[str] | None]


@dataclass(frozen=True, slots=True)
class Inference:
    """A model behind its engines."""

    engine: Engine
    generator: Generator | None
    """None where no text is generated."""

    def answer(self, task: TaskPlan, shard: Shard) -> ShardAnswers:
        """Answer the requests of a shard.

        Raises:
            MilepostError: a token id that the model does not have.
        """
        request_of = requests_of(task.encoded, shard)
        n_requests = shard.last - shard.first
        asked = task.generations.of[shard.first : shard.last]
        scored, scores_of = task.sequences_of(shard), request_of[asked[request_of] < 0]
        if (asked < 0).all():
            scores = self.engine.score(scored)
            failed = _failed(scores, scores_of)
            return ShardAnswers(
                *_by_request(scores, scores_of, n_requests, _pairs(task, shard)), None, failed
            )
        failed = {}
        loglikelihood, greedy = np.full(n_requests, np.nan), np.zeros(n_requests, dtype=np.bool_)
        if len(scored):
            scores = self.engine.score(scored)
            sums, firsts = _by_request(scores, scores_of, n_requests, _pairs(task, shard))
            loglikelihood[asked < 0], greedy[asked < 0] = sums[asked < 0], firsts[asked < 0]
            failed |= _failed(scores, scores_of)
        sequences = shard_sequences(task.encoded, shard)
        generated: Texts = [None] * n_requests
        for number, generation in enumerate(task.generations.settings):
            wanted = np.flatnonzero(asked[request_of] == number)
            prompts = [sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]] for i in wanted]
            answers, raised = self._continue(prompts, generation)
            for i, texts in zip(wanted, answers, strict=True):
                generated[request_of[i]] = texts
            failed |= {int(request_of[wanted[i]]): why for i, why in raised.items()}
        return ShardAnswers(loglikelihood, greedy, generated, failed)

    def _continue(
        self, prompts: list[npt.NDArray[np.int32]], generation: Generation
    ) -> tuple[Texts, Mapping[int, str]]:
        """Return what is asked of each prompt, and why the model raised on some of them."""
        if generation.returns == "tokens" and generation.max_new_tokens == 0:
            return self._prompt_logprobs(prompts)
        assert self.generator is not None
        return self.generator.generate(prompts, generation), self.generator.failed

    def _prompt_logprobs(self, prompts: list[npt.NDArray[np.int32]]) -> tuple[Texts, Mapping[int, str]]:
        """Return the log-probabilities of all tokens of each prompt but its first one."""
        none = np.empty(0, dtype=np.int32)
        answers: Texts = [[TokenAnswer(none, none.astype(np.float32)).to_text()] for _ in prompts]
        long = [i for i, prompt in enumerate(prompts) if len(prompt) > 1]
        if not long:
            return answers, {}
        scores = self.engine.score(
            as_sequences([prompts[i].tolist() for i in long], [len(prompts[i]) - 1 for i in long])
        )
        assert scores.target_logprobs is not None, "engines without them are refused before a run"
        ends = np.cumsum([len(prompts[i]) - 1 for i in long])
        for place, (i, logprobs) in enumerate(
            zip(long, np.split(scores.target_logprobs, ends[:-1]), strict=True)
        ):
            is_sound = not math.isnan(scores.loglikelihood[place])
            answers[i] = [TokenAnswer(none, logprobs).to_text()] if is_sound else None
        return answers, {long[place]: why for place, why in scores.failed.items()}

    @property
    def joins_shards(self) -> bool:
        """Return whether `answer_joined` is faster than one `answer` per shard."""
        return self.engine.joins_shards

    @property
    def gpu(self) -> GpuPath | None:
        """The GPU path, where no generator needs the memory; else None."""
        from milepost.engine.failure_isolation import FailureIsolatingEngine
        from milepost.engine.packed import PackedEngine

        engine = self.engine.engine if isinstance(self.engine, FailureIsolatingEngine) else self.engine
        return engine.gpu if isinstance(engine, PackedEngine) and self.generator is None else None

    def answer_joined(
        self, shards: Sequence[tuple[TaskPlan, Shard]]
    ) -> abc.Generator[ShardAnswers, None, None]:
        """Yield the answers of shards without generated texts, in their order, each when it is complete.

        Raises:
            MilepostError: a token id that the model does not have.
        """
        found = self.engine.score_stream(task.sequences_of(shard) for task, shard in shards)
        for (task, shard), scores in zip(shards, found, strict=True):
            request_of = requests_of(task.encoded, shard)
            n_requests = shard.last - shard.first
            sums = _by_request(scores, request_of, n_requests, _pairs(task, shard))
            yield ShardAnswers(*sums, None, _failed(scores, request_of))

    def name_for(self, task: TaskPlan, shard: Shard) -> str:
        """Return the names of the engines that answer a shard, for its record."""
        asked = task.generations.of[shard.first : shard.last]
        return "+".join(
            engine.name for engine in self._used(bool((asked < 0).any()), bool((asked >= 0).any()))
        )

    def name(self, plan: Plan) -> str:
        """Return the names of the engines that answer a plan."""
        return "+".join(engine.name for engine in self._used_by(plan))

    def fallback(self, plan: Plan) -> str | None:
        """Return the reason why faster engines are not used; None where they are."""
        return "; ".join(engine.fallback for engine in self._used_by(plan) if engine.fallback) or None

    def _used_by(self, plan: Plan) -> list[Engine | Generator]:
        asked = [task.generations.of for task in plan.tasks]
        return self._used(any((of < 0).any() for of in asked), any((of >= 0).any() for of in asked))

    def _used(self, scores: bool, texts: bool) -> list[Engine | Generator]:
        return [*([self.engine] if scores else []), *([self.generator] if texts and self.generator else [])]


def _failed(scores: Scores, request_of: npt.NDArray[np.int64]) -> dict[int, str]:
    """Return, by request, the exception that the model raised on one of its sequences."""
    return {int(request_of[i]): why for i, why in scores.failed.items()}


def _pairs(task: TaskPlan, shard: Shard) -> npt.NDArray[np.bool_]:
    """Return [R] whether a request is a context and a continuation; an empty text scored whole is 0 nats."""
    pairs: npt.NDArray[np.bool_] = task.kinds[shard.first : shard.last] == KINDS.index("loglikelihood")
    return pairs


def _by_request(
    scores: Scores, request_of: npt.NDArray[np.int64], n_requests: int, pairs: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return [R] log-likelihoods, the sum over a request's sequences, and whether all of them are greedy.

    A pair without a sequence cannot be scored (`EncodedTask.unscorable`): its log-likelihood is NaN.
    """
    loglikelihood = np.zeros(n_requests)
    np.add.at(loglikelihood, request_of, scores.loglikelihood)
    greedy = np.ones(n_requests, dtype=np.bool_)
    np.logical_and.at(greedy, request_of, scores.greedy)
    unscorable = pairs & (np.bincount(request_of, minlength=n_requests) == 0)
    loglikelihood[unscorable], greedy[unscorable] = np.nan, False
    return loglikelihood, greedy
