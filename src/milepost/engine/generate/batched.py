"""The fast generator: many rows a step, what prompts share computed once, a row gone as soon as it has ended.

Rows have their keys and values in slots (`slots`). What every prompt begins with is read once and kept apart;
what a prompt shares with one in memory is copied. Each step feeds the last token of every row through the
model's own code with our attention in it (`registry`). A row that has ended leaves its slot to the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.accelerator import accelerator_of
from milepost.engine.attention_hook import UnsupportedAttentionError, running
from milepost.engine.body_and_head import SplitModel
from milepost.engine.budget import SHARE_OF_FREE, fitting_budget, free_bytes
from milepost.engine.generate.attention import Decode, Prefill, PrefixPrefill, PromptSpan
from milepost.engine.generate.chunked_argmax import chunked_argmax
from milepost.engine.generate.detokenize import IsFinished, LogitsCallback, TokenGenerator
from milepost.engine.generate.fixed_batch import FixedBatch
from milepost.engine.generate.fixed_step import FixedDecoder, Sizes
from milepost.engine.generate.kv_cache import KVCache
from milepost.engine.generate.prompt_order import (
    MIN_SHARED,
    Row,
    common_length,
    shared_prefix_length,
    sort_prompts,
)
from milepost.engine.generate.sampler import Sampler, text_rng
from milepost.engine.half_precision import upcast_matmuls
from milepost.engine.memory import is_out_of_memory
from milepost.engine.optimizations import Optimizations
from milepost.engine.positions import reset_positions
from milepost.engine.trial import text_config

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.generate.stopping import TextCodec
    from milepost.types import Generation

MAX_ROWS = {"cpu": 64, "cuda": 256, "mps": 64}
"""More rows make a step's matrix products no faster."""
SHARE_FOR_TEXTS = 0.5
"""Of a GPU's free memory: nothing else runs while texts are written."""
ROUND_CAPACITY = 128
"""Tokens of a slot on a GPU are a multiple of it, so that later prompts find the recorded steps of these."""


class BatchedGenerator(TokenGenerator):
    """For models whose attention can be replaced; whether one is, `trusted` finds out."""

    name = "batched"
    fallback: str | None = None

    def __init__(
        self,
        module: torch.nn.Module,
        codec: TextCodec,
        *,
        vocab_size: int,
        budget_tokens: int | None = None,
        optimizations: Optimizations | None = None,
        max_rows: int | None = None,
    ) -> None:
        self.model = SplitModel(module)
        self.codec = codec
        self.vocab_size = vocab_size
        self.budget_tokens = budget_tokens or fitting_budget(module)
        self.optimizations = optimizations or Optimizations()
        self.max_rows = max_rows or MAX_ROWS.get(self.model.device.type, 32)
        self.n_steps = 0
        """Forward passes that generated a token of each row, for measuring."""
        self.max_new_tokens = 0
        """Of the texts that are being written."""
        self.accelerator = accelerator_of(self.model.device)
        self.decoder: FixedDecoder | None = None
        """Kept from one call to the next, with its recorded steps."""
        self._n_layers = getattr(text_config(module), "num_hidden_layers", 0)
        self.incremental_stops = self.optimizations.incremental_stops

    @torch.inference_mode()
    def tokens(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        generation: Generation,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None = None,
    ) -> list[list[int] | None]:
        """See `TokenGenerator`."""
        reset_positions(self.model.module)
        n_shared = shared_prefix_length(prompts) if self._shares_prefix(prompts, generation) else 0
        order = sort_prompts(prompts, sort=self.optimizations.sort_by_length)
        found: dict[int, list[int] | None] = {}
        while missing := [
            Row(
                i * generation.n_answers + answer,
                prompts[i],
                text_rng(generation, prompts[i], answer),
                n_shared,
            )
            for i in order
            for answer in range(generation.n_answers)
            if i * generation.n_answers + answer not in found
        ]:
            try:
                with upcast_matmuls(self.model.module, wanted=self.optimizations.upcast_matmuls):
                    self._batch(missing, generation, is_finished, on_logits, found).run()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.max_rows == 1:
                    raise
                self.max_rows = max(1, min(self.max_rows, len(missing)) // 2)
                self.decoder = None
                if self.accelerator is not None:
                    self.accelerator.free_unused()
        return [found[number] for number in range(len(found))]

    def _batch(
        self,
        rows: Sequence[Row],
        generation: Generation,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None,
        found: dict[int, list[int] | None],
    ) -> _Batch | FixedBatch:
        self.max_new_tokens = generation.max_new_tokens
        if self.accelerator is None or not self.optimizations.fixed_steps:
            return _Batch(self, rows, generation, is_finished, on_logits, found)
        return FixedBatch(self, self._decoder(rows), rows, generation, is_finished, on_logits, found)

    def _decoder(self, rows: Sequence[Row]) -> FixedDecoder:
        """The decoder of the call before where these rows fit into it, else a new one."""
        assert self.accelerator is not None
        n_prefix = rows[0].n_shared
        longest = max(len(row.own) for row in rows) + self.max_new_tokens
        capacity = -(-longest // ROUND_CAPACITY) * ROUND_CAPACITY
        wanted = 1 << (len(rows) - 1).bit_length()  # few sizes, for few recorded steps
        n_slots = self.n_slots(wanted, capacity, SHARE_FOR_TEXTS)
        if self.decoder is None or not self.decoder.fits(min(len(rows), n_slots), longest, n_prefix):
            self.decoder = None  # frees its memory before the new one takes its own
            self.decoder = FixedDecoder(
                self.model,
                self.accelerator,
                Sizes(self.n_slots(wanted, capacity, SHARE_FOR_TEXTS), capacity, n_prefix),
                n_layers=self._n_layers,
                graphs=self.optimizations.decode_graphs,
            )
        self.decoder.set_last_place(n_prefix + longest - 1)
        return self.decoder

    def forward(
        self, attention: PrefixPrefill | Prefill | Decode, tokens: list[int], places: list[int]
    ) -> torch.Tensor:
        """Hidden states [T, D] of tokens at these positions."""
        device = self.model.device
        with running(attention, self.model.module):
            hidden_TD = self.model.hidden(
                torch.tensor([tokens], device=device), position_ids=torch.tensor([places], device=device)
            )[0]
        if sorted(attention.layers) != list(range(self._n_layers)):
            raise UnsupportedAttentionError(
                f"its attention was called {len(attention.layers)} times for {self._n_layers} layers"
            )
        return hidden_TD

    def n_slots(self, n_rows: int, capacity: int, share: float = SHARE_OF_FREE) -> int:
        """As many as there are rows, fit into that share of the free memory, and make a step faster."""
        config = text_config(self.model.module)
        heads = getattr(config, "num_attention_heads", 1)
        head_size = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 4096) // heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        size = next(self.model.module.parameters()).element_size()
        bytes_each = 2 * self._n_layers * kv_heads * head_size * size * capacity
        fitting = int(share * free_bytes(self.model.device) // max(1, bytes_each))
        return max(1, min(n_rows, self.max_rows, fitting))

    def _shares_prefix(self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation) -> bool:
        window = getattr(text_config(self.model.module), "sliding_window", None)
        longest = max(len(prompt) for prompt in prompts) + generation.max_new_tokens
        return self.optimizations.share_prefixes and (window is None or window >= longest)


class _Batch:
    """Rows going through the model, until all have ended."""

    def __init__(
        self,
        generator: BatchedGenerator,
        rows: Sequence[Row],
        generation: Generation,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None,
        found: dict[int, list[int] | None],
    ) -> None:
        self._generator = generator
        self._waiting = deque(rows)
        self._is_finished = is_finished
        self._on_logits = on_logits
        self._found = found
        self._chooser = Sampler(generation)
        capacity = max(len(row.own) for row in rows) + generation.max_new_tokens
        self._slots = KVCache(generator.n_slots(len(rows), capacity), capacity)
        self._active: list[Row] = []
        """The row in each slot, from the first."""
        self._prefix = rows[0].prompt[: rows[0].n_shared]

    def run(self) -> None:
        """Put the tokens of every row into `found`."""
        if len(self._prefix):
            self._generator.forward(
                PrefixPrefill(self._slots), self._prefix.tolist(), list(range(len(self._prefix)))
            )
        optimizations = self._generator.optimizations
        refill = optimizations.refill and optimizations.drop_finished
        while self._waiting or self._active:
            if self._waiting and (refill or not self._active):
                self._admit()
            self._leave()
            if self._active:
                self._step()

    def _admit(self) -> None:
        """Read the prompts of as many rows as there are free slots, a forward pass full at a time."""
        while self._waiting and len(self._active) < self._slots.n_slots:
            rows: list[Row] = []
            spans: list[PromptSpan] = []
            n_tokens = 0
            while self._waiting and len(self._active) < self._slots.n_slots:
                row = self._waiting[0]
                source_slot, n_copied = self._source_of(row)
                n_own = len(row.own) - n_copied
                if rows and n_tokens + n_own > self._generator.budget_tokens:
                    break
                spans.append(PromptSpan(len(self._active), n_tokens, n_tokens + n_own, source_slot, n_copied))
                rows.append(self._waiting.popleft())
                self._active.append(row)
                n_tokens += n_own
            self._read(rows, spans)

    def _read(self, rows: list[Row], spans: list[PromptSpan]) -> None:
        tokens = [
            id for row, span in zip(rows, spans, strict=True) for id in row.own[span.n_copied :].tolist()
        ]
        places = [
            place
            for row, span in zip(rows, spans, strict=True)
            for place in range(row.n_shared + span.n_copied, len(row.prompt))
        ]
        hidden_TD = self._generator.forward(Prefill(self._slots, spans), tokens, places)
        last = torch.tensor([span.stop - 1 for span in spans], device=hidden_TD.device)
        self._choose(rows, hidden_TD[last])

    def _source_of(self, row: Row) -> tuple[int, int]:
        """The slot of the prompt that has most in common with this one, and how much."""
        if not self._generator.optimizations.copy_prefixes:
            return -1, 0
        best, most = -1, 0
        for slot, other in enumerate(self._active):
            common = min(common_length(other.own, row.own), len(row.own) - 1)
            if common > most:
                best, most = slot, common
        return (best, most) if most >= MIN_SHARED else (-1, 0)

    def _step(self) -> None:
        """One more token of every active row."""
        rows = self._active
        lengths = [row.n_kept for row in rows]
        step = Decode(self._slots, lengths, self._generator.optimizations.attention_chunks)
        tokens = [max(0, row.tokens[-1]) for row in rows]
        places = [row.n_shared + length for row, length in zip(rows, lengths, strict=True)]
        self._choose(rows, self._generator.forward(step, tokens, places))
        self._generator.n_steps += 1

    def _choose(self, rows: list[Row], hidden_BD: torch.Tensor) -> None:
        for row, token in zip(rows, self._next_tokens(rows, hidden_BD), strict=True):
            row.tokens.append(token)
            if row.number in self._found:
                continue  # it goes on only because finished rows are kept
            if token < 0:
                self._found[row.number] = None
            elif self._is_finished(row.tokens):
                self._found[row.number] = list(row.tokens)

    def _next_tokens(self, rows: list[Row], hidden_BD: torch.Tensor) -> list[int]:
        """The token of each row, -1 where the model gave NaN."""
        model = self._generator.model
        in_parts = self._generator.optimizations.head_chunks and hidden_BD.device.type == "cpu"
        if in_parts and model.n_columns and self._on_logits is None and self._chooser.is_greedy:
            return chunked_argmax(model, hidden_BD, model.n_columns).tolist()
        logits_BV = model.logits(hidden_BD)
        if self._on_logits is not None:
            self._on_logits([row.number for row in rows], logits_BV)
        histories = [row.history() for row in rows] if self._chooser.needs_history else []
        tokens: list[int] = self._chooser.choose(logits_BV, histories, [row.draws for row in rows]).tolist()
        return tokens

    def _leave(self) -> None:
        """Let rows go whose texts have ended; the last ones move into their slots."""
        done = [slot for slot, row in enumerate(self._active) if row.number in self._found]
        if not self._generator.optimizations.drop_finished and len(done) < len(self._active):
            return
        for slot in reversed(done):
            if self._found[self._active[slot].number] is None:
                self._slots.clear(slot)
            last = self._active.pop()
            if slot < len(self._active):
                self._active[slot] = last
                self._slots.move(len(self._active), slot, last.n_kept)
