"""The interface of engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from milepost.types.sequences import Scores, Sequences

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
