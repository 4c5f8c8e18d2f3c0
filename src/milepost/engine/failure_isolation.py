"""Isolates a request on which a model fails: it fails alone, and its neighbours get their results.

An exception in a model's forward pass does not say which request of a batch caused it. So if an engine
raises, `reference` scores the sequences under way one at a time, and those on which the model raises again
get a reason in place of a number. The user's errors (`MilepostError`) are raised as they are.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from milepost.engine.reasons import failure_reason, join_reasons
from milepost.errors import MilepostError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from milepost.engine.engine import Engine
    from milepost.engine.generate.generator import Generator
    from milepost.types.generation import Generation
    from milepost.types.sequences import Scores, Sequences

logger = logging.getLogger("milepost.engine")

Item = TypeVar("Item")


class FailureIsolatingEngine:
    """An engine, with `reference` for the sequences on which it raises."""

    def __init__(self, engine: Engine, reference: Engine) -> None:
        self.engine = engine
        self._reference = reference
        self._isolation: str | None = None
        """Reason why sequences were scored one at a time, if they were without a failure."""

    @property
    def name(self) -> str:
        """See `Engine.name`."""
        return self.engine.name

    @property
    def fallback(self) -> str | None:
        """See `Engine.fallback`."""
        return join_reasons([self.engine.fallback, self._isolation])

    @property
    def joins_shards(self) -> bool:
        """See `Engine.joins_shards`."""
        return self.engine.joins_shards

    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`."""
        try:
            return self.engine.score(sequences)
        except MilepostError:
            raise
        except Exception as error:
            logger.debug("%s raised", self.engine.name, exc_info=error)
            reason = failure_reason(error)
        # Outside of `except`, as the exception holds the memory of the failed pass.
        scores = self._reference.score(sequences)
        if not scores.failed:
            self._isolation = (
                f"where the {self.engine.name} engine raised, sequences were scored one at a time: {reason}"
            )
        return scores

    def score_stream(self, shards: Iterable[Sequences]) -> Iterator[Scores]:
        """See `Engine.score_stream`. If the engine raises, the shards under way are scored one by one."""
        source = iter(shards)
        under_way: deque[Sequences] = deque()
        while True:
            try:
                for scores in self.engine.score_stream(_recorded(source, under_way)):
                    under_way.popleft()
                    yield scores
                return
            except MilepostError:
                raise
            except Exception as error:
                if not under_way:
                    raise  # not from the model: the shards themselves could not be read
                logger.debug("a stream of shards raised", exc_info=error)
            while under_way:
                scores = self.score(under_way[0])
                under_way.popleft()
                yield scores


class FailureIsolatingGenerator:
    """A generator, with `reference` for the prompts on which it raises."""

    def __init__(self, generator: Generator, reference: Generator) -> None:
        self.generator = generator
        self._reference = reference
        self._isolation: str | None = None
        self.failed: dict[int, str] = {}
        """Reason of each failed prompt of the last call, by its number; its texts are None."""

    @property
    def name(self) -> str:
        """See `Generator.name`."""
        return self.generator.name

    @property
    def fallback(self) -> str | None:
        """See `Generator.fallback`."""
        return join_reasons([self.generator.fallback, self._isolation])

    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `Generator.generate`."""
        self.failed = {}
        if self.generator is self._reference:
            return self._one_by_one(prompts, generation)
        try:
            return self.generator.generate(prompts, generation)
        except MilepostError:
            raise
        except Exception as error:
            logger.debug("%s raised", self.generator.name, exc_info=error)
            reason = failure_reason(error)
        texts = self._one_by_one(prompts, generation)
        if not self.failed:
            self._isolation = (
                f"where the {self.generator.name} generator raised, prompts were continued one at a time: "
                f"{reason}"
            )
        return texts

    def _one_by_one(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        texts: list[list[str] | None] = []
        for number, prompt in enumerate(prompts):
            try:
                texts += self._reference.generate([prompt], generation)
            except MilepostError:
                raise
            except Exception as error:
                self.failed[number] = failure_reason(error)
                texts.append(None)
        return texts


def _recorded(source: Iterator[Item], under_way: deque[Item]) -> Iterator[Item]:
    for item in source:
        under_way.append(item)
        yield item
