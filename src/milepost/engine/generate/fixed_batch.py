"""Rows through steps of fixed shapes: the host looks at the tokens of one step while the next one runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from milepost.engine.generate.attention import Prefill, PrefixPrefill, PromptSpan
from milepost.engine.generate.prompt_order import MIN_SHARED, Row, common_length
from milepost.engine.generate.sampler import Sampler

if TYPE_CHECKING:
    from milepost.engine.accelerator import Fetch
    from milepost.engine.generate.batched import BatchedGenerator
    from milepost.engine.generate.detokenize import IsFinished, LogitsCallback
    from milepost.engine.generate.fixed_step import FixedDecoder
    from milepost.types import Generation

FREE_SHARE = 8
"""New rows come in once an eighth of the slots is free: until then steps follow each other without a wait."""


class FixedBatch:
    """Rows going through one decoder, until all have ended. A row keeps its slot."""

    def __init__(
        self,
        generator: BatchedGenerator,
        decoder: FixedDecoder,
        rows: Sequence[Row],
        generation: Generation,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None,
        found: dict[int, list[int] | None],
    ) -> None:
        self._generator = generator
        self._decoder = decoder
        self._waiting = deque(rows)
        self._is_finished = is_finished
        self._on_logits = on_logits
        self._found = found
        self._chooser = Sampler(generation)
        self._by_likeliest = self._chooser.is_greedy and on_logits is None
        self._rows: list[Row | None] = [None] * decoder.sizes.n_slots
        """The row in each slot; one that has ended stays until another takes its place."""
        self._prefix = rows[0].prompt[: rows[0].n_shared]

    def run(self) -> None:
        """Put the tokens of every row into `found`."""
        if len(self._prefix):
            self._generator.forward(
                PrefixPrefill(self._decoder.slots), self._prefix.tolist(), list(range(len(self._prefix)))
            )
        while self._waiting or self._active():
            if self._waiting:
                self._admit()
            if self._active():
                self._set_rows()
                self._go_on()

    def _active(self) -> list[Row]:
        return [row for row in self._rows if row is not None and row.number not in self._found]

    def _free(self) -> list[int]:
        return [i for i, row in enumerate(self._rows) if row is None or row.number in self._found]

    def _go_on(self) -> None:
        """Steps until there is room for new rows, or all have ended."""
        pending: Fetch | None = None
        ahead = self._by_likeliest and self._generator.optimizations.look_ahead
        while rows := self._active():
            if pending is None:
                pending = self._launch(0)
            following = self._launch(1) if ahead and self._goes_on_anyway(rows) else None
            self._take(rows, pending)
            pending = following
            if self._waiting and self._wants_new_rows():
                break
        if pending is not None:
            # Rows that go on have one more token on the device than the host knows of.
            self._take(self._active(), pending)

    def _launch(self, ahead: int) -> Fetch:
        self._generator.n_steps += 1
        longest = max(row.n_kept for row in self._active()) + 1 + ahead
        return self._decoder.launch(min(longest, self._decoder.sizes.capacity))

    def _goes_on_anyway(self, rows: Sequence[Row]) -> bool:
        """Whether some row has another token to come after the one under way."""
        return any(len(row.tokens) + 1 < self._most_tokens for row in rows)

    @property
    def _most_tokens(self) -> int:
        return self._generator.max_new_tokens

    def _wants_new_rows(self) -> bool:
        if not (self._generator.optimizations.refill and self._generator.optimizations.drop_finished):
            return not self._active()
        return len(self._free()) * FREE_SHARE >= len(self._rows)

    def _take(self, rows: Sequence[Row], fetch: Fetch) -> None:
        """The tokens of a step that was launched for these rows and maybe others."""
        if self._by_likeliest:
            (chosen_S,) = fetch.arrays()
            slot_of = {id(row): i for i, row in enumerate(self._rows)}
            tokens = [int(chosen_S[slot_of[id(row)]]) for row in rows]
        else:
            slots = [
                i for i, row in enumerate(self._rows) if row is not None and row.number not in self._found
            ]
            logits_BV = self._decoder.logits_SV[torch.tensor(slots, device=self._generator.model.device)]
            tokens = self._chosen(rows, logits_BV)
        self._note(rows, tokens)
        if not self._by_likeliest and self._active():
            self._set_rows()

    def _chosen(self, rows: Sequence[Row], logits_BV: torch.Tensor) -> list[int]:
        if self._on_logits is not None:
            self._on_logits([row.number for row in rows], logits_BV)
        histories = [row.history() for row in rows] if self._chooser.needs_history else []
        tokens: list[int] = self._chooser.choose(logits_BV, histories, [row.draws for row in rows]).tolist()
        return tokens

    def _note(self, rows: Sequence[Row], tokens: Sequence[int]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            row.tokens.append(token)
            if token < 0:
                self._found[row.number] = None
            elif self._is_finished(row.tokens):
                self._found[row.number] = list(row.tokens)

    def _set_rows(self) -> None:
        """Tell the device what each slot's row is at.

        A slot without one waits at its last place, which no row needs: the prompt in it can still be copied.
        """
        tokens, places = [0] * len(self._rows), [0] * len(self._rows)
        lengths = [self._decoder.sizes.capacity - 1] * len(self._rows)
        for i, row in enumerate(self._rows):
            if row is not None and row.number not in self._found:
                tokens[i], lengths[i] = row.tokens[-1], row.n_kept
                places[i] = row.n_shared + row.n_kept
        self._decoder.set_rows(tokens, places, lengths)

    def _admit(self) -> None:
        """Read the prompts of as many rows as there are free slots, a forward pass full at a time."""
        free = deque(self._free())
        while self._waiting and free:
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
                self._rows[free.popleft()] = self._waiting.popleft()
                rows.append(row)
                n_tokens += n_own
            self._read(rows, spans)
            free.extend(i for i, row in enumerate(self._rows) if row in rows and row.number in self._found)

    def _source_of(self, row: Row, own_slot: int) -> tuple[int, int]:
        """The slot of the prompt that has most in common with this one, and how much."""
        if not self._generator.optimizations.copy_prefixes:
            return -1, 0
        best, most = -1, 0
        for slot, other in enumerate(self._rows):
            if other is None or slot == own_slot or self._found.get(other.number, []) is None:
                continue
            common = min(common_length(other.own, row.own), len(row.own) - 1)
            if common > most:
                best, most = slot, common
        return (best, most) if most >= MIN_SHARED else (-1, 0)

    def _read(self, rows: list[Row], spans: list[PromptSpan]) -> None:
        tokens = [
            id for row, span in zip(rows, spans, strict=True) for id in row.own[span.n_copied :].tolist()
        ]
        places = [
            place
            for row, span in zip(rows, spans, strict=True)
            for place in range(row.n_shared + span.n_copied, len(row.prompt))
        ]
        reading = Prefill(self._decoder.slots, spans, clear_rest=True)
        hidden_TD = self._generator.forward(reading, tokens, places)
        last = torch.tensor([span.stop - 1 for span in spans], device=hidden_TD.device)
        self._note(rows, self._chosen(rows, self._generator.model.logits(hidden_TD[last])))
