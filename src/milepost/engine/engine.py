"""The interface of engines, and `build_engine`, which makes one by its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch

    from milepost.engine.optimizations import Optimizations
    from milepost.types import Scores, Sequences

EngineName = Literal["auto", "packed", "padded", "reference", "hf-continuous"]


class Engine(Protocol):
    """Scores token sequences with the module it was built on, whose weights may change between calls."""

    @property
    def name(self) -> str:
        """The engine that runs: `packed`, `padded` or `reference`."""
        ...

    @property
    def fallback(self) -> str | None:
        """Reason why a faster engine is not used, in one line; None if the requested one is used.

        Final only after the first sequences are scored.
        """
        ...

    @property
    def joins_shards(self) -> bool:
        """True if `score_stream` puts several shards into one forward pass, which is faster than `score`.

        It then takes shards before it yields the scores of earlier ones.
        """
        ...

    def score(self, sequences: Sequences) -> Scores:
        """Return the log-likelihoods of the sequences' targets in nats, in order, on the CPU.

        Raises:
            MilepostError: the model does not have one of the token ids.
            Exception: whatever the model raises; an engine that `build_engine` made puts the reason into
                `Scores.failed` instead.
        """
        ...

    def score_stream(self, shards: Iterable[Sequences]) -> Iterator[Scores]:
        """Score several shards as one stream of full packs.

        A shard is taken from the iterable only when the next pack has room for it. The scores of each shard
        are yielded in order, as soon as they are complete, and equal those of `score` shard by shard. Between
        two shards the module is unchanged, so that others may use it.

        Raises:
            MilepostError: the model does not have one of the token ids.
        """
        ...


class ShardwiseEngine(ABC):
    """An engine that gains nothing from several shards at once: its stream scores one after the other."""

    joins_shards = False

    @abstractmethod
    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`."""

    def score_stream(self, shards: Iterable[Sequences]) -> Iterator[Scores]:
        """See `Engine.score_stream`."""
        for shard in shards:
            yield self.score(shard)


def build_engine(
    name: EngineName,
    module: torch.nn.Module,
    *,
    vocab_size: int,
    budget_tokens: int | None = None,
    optimizations: Optimizations | None = None,
    trial: Sequences | None = None,
) -> Engine:
    """Return the engine of that name over a transformers causal LM.

    Args:
        name: `auto` is the fastest engine that is right for this model.
        module: a causal LM in eval mode, on the device and in the dtype it is to run in.
        vocab_size: rows of its embedding; a token id must be smaller.
        budget_tokens: tokens in one forward pass; None lets the engine choose.
        optimizations: of the packed engine; None for the defaults.
        trial: sequences as long as any to come. The engine is tried once on a few of them, the longest among
            them, before its first scores. Without them it is tried whenever longer sequences come.
    """
    from milepost.engine.allocator import tune_allocator
    from milepost.engine.failure_isolation import FailureIsolatingEngine
    from milepost.engine.length_groups import LengthGroupedEngine, cut
    from milepost.engine.packed import PackedEngine
    from milepost.engine.padded import PaddedEngine
    from milepost.engine.positions import length_switch
    from milepost.engine.reference import ReferenceEngine
    from milepost.plan.sequences import longest

    tune_allocator(module)
    reference = ReferenceEngine(module, vocab_size=vocab_size)
    if name == "reference":
        return reference

    def padded(trial: Sequences | None, longer_than: int = 0) -> PaddedEngine:
        return PaddedEngine(
            module, vocab_size=vocab_size, budget_tokens=budget_tokens, trial=trial, longer_than=longer_than
        )

    def build(trial: Sequences | None) -> Engine:
        if name == "padded":
            return padded(trial)
        return PackedEngine(
            module,
            vocab_size=vocab_size,
            budget_tokens=budget_tokens,
            optimizations=optimizations,
            trial=trial,
        )

    switch = length_switch(module)
    if switch is None or (trial is not None and longest(trial) - 1 <= switch.tokens):
        return FailureIsolatingEngine(build(trial), reference)
    short = build(None if trial is None else cut(trial, switch.tokens))
    long = padded(trial, longer_than=switch.tokens)
    return FailureIsolatingEngine(LengthGroupedEngine(short, long, switch), reference)
