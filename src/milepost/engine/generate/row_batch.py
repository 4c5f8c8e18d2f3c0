"""Rows of the batched generator going through the model: admitted to slots, prefilled, decoded, dropped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from milepost.engine.generate.attention import Decode, Prefill, PrefixPrefill, PromptSpan
from milepost.engine.generate.chunked_argmax import chunked_argmax
from milepost.engine.generate.kv_cache import KVCache
from milepost.engine.generate.prompt_order import MIN_SHARED, Row, common_length
from milepost.engine.generate.sampler import Sampler

if TYPE_CHECKING:
    from milepost.engine.body_and_head import SplitModel
    from milepost.engine.generate.detokenize import AnswerTokens, GenerationJob
    from milepost.engine.optimizations import Optimizations


class BatchModel(Protocol):
    """The model and settings that batches of one generator share."""

    model: SplitModel
    optimizations: Optimizations
    budget_tokens: int
    n_steps: int
    """Decode steps so far."""

    def forward(
        self, attention: PrefixPrefill | Prefill | Decode, tokens: list[int], places: list[int]
    ) -> torch.Tensor:
        """Return hidden states [T, D] of tokens at these positions; of prompts only [B, D], of their last."""
        ...

    def n_slots(self, n_rows: int, capacity: int) -> int:
        """Return the number of KV cache slots for so many rows."""
        ...


class RowBatch(ABC):
    """Rows and their slots, until all texts have ended."""

    clear_rest = False
    """See `Prefill.clear_rest`."""

    def __init__(
        self,
        generator: BatchModel,
        cache: KVCache,
        rows: Sequence[Row],
        job: GenerationJob,
        answers: dict[int, AnswerTokens],
    ) -> None:
        """`answers` receives the tokens of every row, by its number."""
        self._generator = generator
        self._cache = cache
        self._waiting = deque(rows)
        self._job = job
        self._answers = answers
        self._sampler = Sampler(job.generation)
        self._prefix = rows[0].prompt[: rows[0].n_shared]

    def run(self) -> None:
        """Put the tokens of every row into `answers`."""
        if len(self._prefix):
            places = list(range(len(self._prefix)))
            self._generator.forward(PrefixPrefill(self._cache), self._prefix.tolist(), places)
        self._run_rows()

    @abstractmethod
    def _run_rows(self) -> None:
        """Run all rows behind the prefix."""

    @abstractmethod
    def _free_slots(self) -> list[int]:
        """Return the slots that a waiting row may take."""

    @abstractmethod
    def _occupied_slots(self) -> Iterable[tuple[int, Row]]:
        """Return the slots with keys and values of a row, and that row."""

    @abstractmethod
    def _put(self, row: Row, slot: int) -> None:
        """Give the first free slot to a row."""

    def _has_ended(self, row: Row) -> bool:
        return row.number in self._answers

    def _admit(self) -> None:
        """Prefill the prompts of as many rows as there are free slots, a full forward pass at a time."""
        while self._waiting and (free := deque(self._free_slots())):
            rows: list[Row] = []
            spans: list[PromptSpan] = []
            n_tokens = 0
            while self._waiting and free:
                row = self._waiting[0]
                source_slot, n_copied = self._source_of(row, free[0])
                n_own = len(row.own) - n_copied
                if rows and n_tokens + n_own > self._generator.budget_tokens:
                    break
                spans.append(PromptSpan(free[0], n_tokens, n_tokens + n_own, source_slot, n_copied))
                self._put(row, free.popleft())
                rows.append(self._waiting.popleft())
                n_tokens += n_own
            self._prefill(rows, spans)

    def _source_of(self, row: Row, own_slot: int) -> tuple[int, int]:
        """Return the slot whose prompt has most in common with this one, and how many tokens."""
        if not self._generator.optimizations.copy_prefixes:
            return -1, 0
        best, most = -1, 0
        for slot, other in self._occupied_slots():
            is_broken = self._has_ended(other) and self._answers[other.number] is None
            if slot == own_slot or is_broken:
                continue
            common = min(common_length(other.own, row.own), len(row.own) - 1)
            if common > most:
                best, most = slot, common
        return (best, most) if most >= MIN_SHARED else (-1, 0)

    def _prefill(self, rows: list[Row], spans: list[PromptSpan]) -> None:
        tokens: list[int] = []
        places: list[int] = []
        for row, span in zip(rows, spans, strict=True):
            tokens += row.own[span.n_copied :].tolist()
            places += range(row.n_shared + span.n_copied, len(row.prompt))
        attention = Prefill(self._cache, spans, self.clear_rest)
        self._record(rows, self._next_tokens(rows, self._generator.forward(attention, tokens, places)))

    def _next_tokens(self, rows: Sequence[Row], hidden_BD: torch.Tensor) -> list[int]:
        """Return the next token of each row; -1 if the model gave NaN."""
        return self._sample(rows, self._generator.model.logits(hidden_BD))

    def _sample(self, rows: Sequence[Row], logits_BV: torch.Tensor) -> list[int]:
        histories = [row.history() for row in rows] if self._sampler.needs_history else []
        if self._job.on_logits is not None:
            self._job.on_logits([row.number for row in rows], logits_BV, histories)
        tokens: list[int] = self._sampler.choose(logits_BV, histories, [row.rng for row in rows]).tolist()
        return tokens

    def _record(self, rows: Sequence[Row], tokens: Sequence[int]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            row.tokens.append(token)
            if self._has_ended(row):
                continue  # it only goes on because finished rows are kept
            if token < 0:
                self._answers[row.number] = None
            elif self._job.is_finished(row.tokens):
                self._answers[row.number] = list(row.tokens)


class CompactBatch(RowBatch):
    """Rows in the first slots of a KV cache; when a row leaves, the last one moves into its slot."""

    def __init__(
        self,
        generator: BatchModel,
        rows: Sequence[Row],
        job: GenerationJob,
        answers: dict[int, AnswerTokens],
    ) -> None:
        capacity = max(len(row.own) for row in rows) + job.generation.max_new_tokens
        cache = KVCache(generator.n_slots(len(rows), capacity), capacity)
        super().__init__(generator, cache, rows, job, answers)
        self._active: list[Row] = []
        """The row in each slot, from the first."""

    def _free_slots(self) -> list[int]:
        return list(range(len(self._active), self._cache.n_slots))

    def _occupied_slots(self) -> Iterable[tuple[int, Row]]:
        return enumerate(self._active)

    def _put(self, row: Row, slot: int) -> None:
        self._active.append(row)

    def _run_rows(self) -> None:
        optimizations = self._generator.optimizations
        refill = optimizations.refill and optimizations.drop_finished
        while self._waiting or self._active:
            if self._waiting and (refill or not self._active):
                self._admit()
            self._drop_finished()
            if self._active:
                self._decode()

    def _decode(self) -> None:
        """Generate one more token of every active row."""
        rows = self._active
        lengths = [row.n_kept for row in rows]
        decode = Decode(self._cache, lengths, self._generator.optimizations.attention_chunks)
        tokens = [max(0, row.tokens[-1]) for row in rows]
        places = [row.n_shared + length for row, length in zip(rows, lengths, strict=True)]
        self._record(rows, self._next_tokens(rows, self._generator.forward(decode, tokens, places)))
        self._generator.n_steps += 1

    def _next_tokens(self, rows: Sequence[Row], hidden_BD: torch.Tensor) -> list[int]:
        model = self._generator.model
        chunked = self._generator.optimizations.head_chunks and hidden_BD.device.type == "cpu"
        if chunked and model.n_columns and self._job.on_logits is None and self._sampler.is_greedy:
            return chunked_argmax(model, hidden_BD, model.n_columns).tolist()
        return super()._next_tokens(rows, hidden_BD)

    def _drop_finished(self) -> None:
        done = [slot for slot, row in enumerate(self._active) if self._has_ended(row)]
        if not self._generator.optimizations.drop_finished and len(done) < len(self._active):
            return
        for slot in reversed(done):
            if self._answers[self._active[slot].number] is None:
                self._cache.clear(slot)
            last = self._active.pop()
            if slot < len(self._active):
                self._active[slot] = last
                self._cache.move(len(self._active), slot, last.n_kept)
