"""A request on which a model fails costs itself, not its neighbours: what raised is done again one by one.

An exception in a model's forward pass says nothing of which of a batch it was. So where an engine raises, the
sequences under way are scored by `reference`, and those on which the model raises there too have a reason in
place of a number. Errors that are ours to tell (`MilepostError`) go through.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from milepost.engine.reasons import failure_reason
from milepost.errors import MilepostError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from milepost.engine.engine import Engine
    from milepost.engine.generate.generator import Generator
    from milepost.types import Generation, Scores, Sequences

logger = logging.getLogger("milepost.engine")

Item = TypeVar("Item")


class FailureIsolatingEngine:
    """An engine, and `reference` for the sequences on which it raises."""

    def __init__(self, engine: Engine, reference: Engine) -> None:
        self.engine = engine
        self._reference = reference
        self._gave_way: str | None = None

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def fallback(self) -> str | None:
        reasons = (self.engine.fallback, self._gave_way)
        return "; ".join(reason for reason in reasons if reason) or None

    @property
    def joins_shards(self) -> bool:
        return self.engine.joins_shards

    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`."""
        try:
            return self.engine.score(sequences)
        except MilepostError:
            raise
        except Exception as error:
            return self._one_by_one(sequences, error)

    def score_stream(self, shards: Iterable[Sequences]) -> Iterator[Scores]:
        """See `Engine.score_stream`. Shards under way when something raises are scored on their own."""
        source = iter(shards)
        under_way: deque[Sequences] = deque()
        while True:
            try:
                for scores in self.engine.score_stream(_noted(source, under_way)):
                    under_way.popleft()
                    yield scores
                return
            except MilepostError:
                raise
            except Exception as error:
                if not under_way:
                    raise  # not of the model: the shards themselves could not be had
                logger.debug("a stream of shards raised", exc_info=error)
            while under_way:
                scores = self.score(under_way[0])
                under_way.popleft()
                yield scores

    def _one_by_one(self, sequences: Sequences, error: Exception) -> Scores:
        logger.debug("%s raised", self.engine.name, exc_info=error)
        scores = self._reference.score(sequences)
        if not scores.failed:
            self._gave_way = (
                f"where the {self.engine.name} engine raised, sequences were scored one at a time"
            )
            self._gave_way += f": {failure_reason(error)}"
        return scores


class FailureIsolatingGenerator:
    """A generator, and `reference` for the prompts on which it raises."""

    def __init__(self, generator: Generator, reference: Generator) -> None:
        self.generator = generator
        self._reference = reference
        self._gave_way: str | None = None
        self.failed: dict[int, str] = {}
        """By its number in the last call, why the model failed on a prompt; its texts are None."""

    @property
    def name(self) -> str:
        return self.generator.name

    @property
    def fallback(self) -> str | None:
        reasons = (self.generator.fallback, self._gave_way)
        return "; ".join(reason for reason in reasons if reason) or None

    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `Generator.generate`."""
        self.failed = {}
        if self.generator is not self._reference:
            try:
                return self.generator.generate(prompts, generation)
            except MilepostError:
                raise
            except Exception as error:
                logger.debug("%s raised", self.generator.name, exc_info=error)
                why = failure_reason(error)
        found: list[list[str] | None] = []
        for number, prompt in enumerate(prompts):
            try:
                found += self._reference.generate([prompt], generation)
            except MilepostError:
                raise
            except Exception as error:
                self.failed[number] = failure_reason(error)
                found.append(None)
        if self.generator is not self._reference and not self.failed:
            self._gave_way = (
                f"where the {self.generator.name} generator raised, prompts were continued one at"
            )
            self._gave_way += f" a time: {why}"
        return found


def _noted(source: Iterator[Item], under_way: deque[Item]) -> Iterator[Item]:
    for item in source:
        under_way.append(item)
        yield item
