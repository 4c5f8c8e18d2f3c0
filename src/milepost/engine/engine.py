"""What an engine is, and how one is chosen. Knows the names of the engines, nothing of how they compute."""

from __future__ import annotations

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
        """`packed`, `padded` or `reference`: what is really running."""
        ...

    @property
    def fallback(self) -> str | None:
        """Why a faster engine is not used, in one line; None where the one asked for is. It can show only
        when the first sequences are scored."""
        ...

    @property
    def joins_shards(self) -> bool:
        """Whether `score_stream` computes several shards in one forward pass, so that it is faster than
        `score` shard by shard. Scores then come later than their shard was taken."""
        ...

    def score(self, sequences: Sequences) -> Scores:
        """Log-likelihoods of the sequences' targets, in their order, on the CPU.

        Raises:
            MilepostError: a token id that the model does not have.
            Exception: whatever the model raises; an engine that `build_engine` made has a reason in
                `Scores.failed` instead.
        """
        ...

    def score_stream(self, shards: Iterable[Sequences]) -> Iterator[Scores]:
        """Score several shards as one stream of full packs.

        Shards are taken from the iterable only when the next pack has room for them. Each shard's scores are
        yielded in the given order, as soon as they are complete; they are the same numbers as those of
        `score` shard by shard. Between two of them the module is as it was, so that others may use it.

        Raises:
            MilepostError: a token id that the model does not have.
        """
        ...


class ShardwiseEngine:
    """The stream of an engine that gains nothing from seeing several shards at once."""

    joins_shards = False

    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`."""
        raise NotImplementedError

    def score_stream(self, shards: Iterable[Sequences]) -> Iterator[Scores]:
        """See `Engine.score_stream`: one shard is scored when its scores are asked for."""
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
    """The engine of that name over a transformers causal LM.

    Args:
        name: `auto` is the fastest engine that is right for this model.
        module: a causal LM in eval mode, on the device and in the dtype it is to run in.
        vocab_size: rows of its embedding; a token id must be smaller.
        budget_tokens: tokens in one forward pass; None lets the engine choose.
        optimizations: which optimisations of the packed engine are on; None for all of them.
        trial: an engine is tried once on a few of these, the longest among them, before its first scores;
            None has it tried whenever sequences come that are longer than any before.
    """
    from milepost.engine.failure_isolation import FailureIsolatingEngine
    from milepost.engine.length_groups import LengthGroupedEngine, cut
    from milepost.engine.memory import join_freed_memory, keep_freed_memory
    from milepost.engine.packed import PackedEngine
    from milepost.engine.padded import PaddedEngine
    from milepost.engine.positions import length_switch
    from milepost.engine.reference import ReferenceEngine
    from milepost.plan.sequences import longest

    device = next(module.parameters()).device.type
    if device == "cpu":
        keep_freed_memory()
    elif device == "cuda":
        join_freed_memory()
    reference = ReferenceEngine(module, vocab_size=vocab_size)
    if name == "reference":
        return reference

    def build(trial: Sequences | None) -> Engine:
        if name == "padded":
            return PaddedEngine(module, vocab_size=vocab_size, budget_tokens=budget_tokens, trial=trial)
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
    engine = LengthGroupedEngine(
        build(None if trial is None else cut(trial, switch.tokens)),
        PaddedEngine(
            module,
            vocab_size=vocab_size,
            budget_tokens=budget_tokens,
            trial=trial,
            longer_than=switch.tokens,
        ),
        switch,
    )
    return FailureIsolatingEngine(engine, reference)
