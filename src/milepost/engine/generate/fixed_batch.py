"""Rows in decode steps of fixed shapes: the host reads the tokens of one step while the next one runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from milepost.engine.generate.prompt_order import Row
from milepost.engine.generate.row_batch import BatchModel, RowBatch

if TYPE_CHECKING:
    from milepost.engine.accelerator import Fetch
    from milepost.engine.generate.detokenize import AnswerTokens, GenerationJob
    from milepost.engine.generate.fixed_step import FixedDecoder

FREE_SHARE = 8
"""New rows are admitted once an eighth of the slots is free; until then steps follow without a wait."""


class FixedBatch(RowBatch):
    """Rows going through one decoder. A row keeps its slot."""

    clear_rest = True

    def __init__(
        self,
        generator: BatchModel,
        decoder: FixedDecoder,
        rows: Sequence[Row],
        job: GenerationJob,
        answers: dict[int, AnswerTokens],
    ) -> None:
        super().__init__(generator, decoder.cache, rows, job, answers)
        self._decoder = decoder
        self._on_device = self._sampler.is_greedy and job.on_logits is None
        """True if the device chooses the tokens, so that the host need not see the logits."""
        self._rows: list[Row | None] = [None] * decoder.sizes.n_slots
        """The row in each slot; an ended one stays until another takes its place."""

    def _free_slots(self) -> list[int]:
        return [slot for slot, row in enumerate(self._rows) if row is None or self._has_ended(row)]

    def _occupied_slots(self) -> Iterable[tuple[int, Row]]:
        return ((slot, row) for slot, row in enumerate(self._rows) if row is not None)

    def _put(self, row: Row, slot: int) -> None:
        self._rows[slot] = row

    def _active(self) -> list[tuple[int, Row]]:
        return [(slot, row) for slot, row in self._occupied_slots() if not self._has_ended(row)]

    def _run_rows(self) -> None:
        while self._waiting or self._active():
            if self._waiting:
                self._admit()
            if self._active():
                self._set_rows()
                self._decode()

    def _decode(self) -> None:
        """Run steps until new rows may be admitted or all rows have ended."""
        pending: Fetch | None = None
        ahead = self._on_device and self._generator.optimizations.look_ahead
        while rows := self._active():
            if pending is None:
                pending = self._launch(0)
            following = self._launch(1) if ahead and self._needs_another_step(rows) else None
            self._take(rows, pending)
            pending = following
            if self._waiting and self._admits_now():
                break
        if pending is not None:
            # The device is one token further with the rows that go on than the host knows.
            self._take(self._active(), pending)

    def _launch(self, ahead: int) -> Fetch:
        self._generator.n_steps += 1
        longest = max(row.n_kept for _, row in self._active()) + 1 + ahead
        return self._decoder.launch(min(longest, self._decoder.sizes.capacity))

    def _needs_another_step(self, rows: Sequence[tuple[int, Row]]) -> bool:
        """Return whether a row may have another token after the one under way."""
        return any(len(row.tokens) + 1 < self._job.generation.max_new_tokens for _, row in rows)

    def _admits_now(self) -> bool:
        optimizations = self._generator.optimizations
        if not (optimizations.refill and optimizations.drop_finished):
            return not self._active()
        return len(self._free_slots()) * FREE_SHARE >= len(self._rows)

    def _take(self, active: Sequence[tuple[int, Row]], fetch: Fetch) -> None:
        """Record the tokens of a step; it may have been launched for other rows as well."""
        slots, rows = [slot for slot, _ in active], [row for _, row in active]
        if self._on_device:
            (chosen_S,) = fetch.arrays()
            self._record(rows, [int(chosen_S[slot]) for slot in slots])
            return
        logits_BV = self._decoder.logits_SV[torch.tensor(slots, device=self._generator.model.device)]
        self._record(rows, self._sample(rows, logits_BV))
        if self._active():
            self._set_rows()

    def _set_rows(self) -> None:
        """Copy the state of each slot's row to the device.

        A slot without an active row stays at its last place, which no row needs, so that the prompt in it can
        still be copied.
        """
        tokens, places = [0] * len(self._rows), [0] * len(self._rows)
        lengths = [self._decoder.sizes.capacity - 1] * len(self._rows)
        for slot, row in self._active():
            tokens[slot], lengths[slot] = row.tokens[-1], row.n_kept
            places[slot] = row.n_shared + row.n_kept
        self._decoder.set_rows(tokens, places, lengths)
