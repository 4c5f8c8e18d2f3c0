"""The batched generator: many rows per step, shared prefixes computed once, ended rows replaced at once.

Rows have their keys and values in a KV cache. The prefix that all prompts share is read once and kept apart;
a prefix shared with a prompt in the cache is copied. Each decode step feeds the last token of every row
through the model's own code with our attention in it (`attention_hook`). A row whose text has ended leaves
its slot to the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from milepost.engine.accelerator import accelerator_of
from milepost.engine.attention_call import check_layers
from milepost.engine.attention_hook import using_backend
from milepost.engine.body_and_head import SplitModel
from milepost.engine.budget import SHARE_OF_FREE, fitting_budget, free_bytes
from milepost.engine.generate.attention import Prefill
from milepost.engine.generate.detokenize import AnswerTokens, GenerationJob, TokenGenerator
from milepost.engine.generate.fixed_batch import FixedBatch
from milepost.engine.generate.fixed_step import FixedDecoder, Sizes
from milepost.engine.generate.kv_cache import cache_dtype
from milepost.engine.generate.prompt_order import Row, shared_prefix_length, sort_prompts
from milepost.engine.generate.row_batch import CompactBatch
from milepost.engine.generate.sampler import text_rng
from milepost.engine.generate.token_logprobs import TokenLogprobs
from milepost.engine.half_precision import upcast_matmuls
from milepost.engine.last_layer import restricted_to_rows
from milepost.engine.memory import BatchLimit
from milepost.engine.model_config import layer_count, text_config
from milepost.engine.optimizations import Optimizations
from milepost.engine.positions import reset_positions

if TYPE_CHECKING:
    from milepost.engine.generate.attention import Decode, PrefixPrefill
    from milepost.engine.generate.stopping import TextCodec

MAX_ROWS = {"cpu": 64, "cuda": 256, "mps": 64}
"""More rows make a step's matrix products no faster."""
SHARE_FOR_TEXTS = 0.5
"""Share of a GPU's free memory for the KV cache: nothing else runs during generation."""
ROUND_CAPACITY = 128
"""Tokens of a slot on a GPU are a multiple of it, so that later prompts can use the recorded steps."""


class BatchedGenerator(TokenGenerator):
    """A generator for models whose attention can be replaced; `VerifiedGenerator` tries whether it can."""

    name = "batched"

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
        super().__init__(codec, vocab_size)
        self.model = SplitModel(module)
        self.budget_tokens = budget_tokens or fitting_budget(module)
        self.optimizations = optimizations or Optimizations()
        self._rows = BatchLimit(max_rows or MAX_ROWS.get(self.model.device.type, 32))
        self.n_steps = 0
        """Forward passes that generated a token of each row, for measuring."""
        self.accelerator = accelerator_of(self.model.device)
        self.decoder: FixedDecoder | None = None
        """Kept from one call to the next, with its recorded steps."""
        self._n_layers = layer_count(module)
        narrows = self.accelerator is None and self.optimizations.narrow_last_layer
        self._last_layer = self.model.last_layer(self._n_layers) if narrows else None
        self.incremental_stops = self.optimizations.incremental_stops

    @property
    def max_rows(self) -> int:
        """The most rows per step; halved if memory runs out."""
        return self._rows.limit

    @torch.inference_mode()
    def tokens(self, job: GenerationJob) -> list[AnswerTokens]:
        """See `TokenGenerator.tokens`."""
        reset_positions(self.model.module)
        prompts, generation, n_answers = job.prompts, job.generation, job.generation.n_answers
        n_shared = shared_prefix_length(prompts) if self._shares_prefix(job) else 0
        order = sort_prompts(prompts, sort=self.optimizations.sort_by_length)
        answers: dict[int, AnswerTokens] = {}
        while missing := [
            Row(i * n_answers + k, prompts[i], text_rng(generation, prompts[i], k), n_shared)
            for i in order
            for k in range(n_answers)
            if i * n_answers + k not in answers
        ]:
            before = self.max_rows
            size = max(2, min(before, len(missing)))
            with (
                self._rows.halving(size, can_split=before > 1),
                upcast_matmuls(self.model.module, wanted=self.optimizations.upcast_matmuls),
            ):
                self._batch(missing, job, answers).run()
            if self.max_rows < before:
                if isinstance(job.on_logits, TokenLogprobs):
                    job.on_logits.forget(row.number for row in missing if row.number not in answers)
                self.decoder = None
                if self.accelerator is not None:
                    self.accelerator.free_unused()
        return [answers[number] for number in range(len(answers))]

    def _batch(
        self, rows: Sequence[Row], job: GenerationJob, answers: dict[int, AnswerTokens]
    ) -> CompactBatch | FixedBatch:
        if self.accelerator is None or not self.optimizations.fixed_steps:
            return CompactBatch(self, rows, job, answers)
        return FixedBatch(self, self._decoder(rows, job.generation.max_new_tokens), rows, job, answers)

    def _decoder(self, rows: Sequence[Row], max_new_tokens: int) -> FixedDecoder:
        """Return the decoder of the last call if these rows fit into it, else a new one."""
        assert self.accelerator is not None
        n_prefix = rows[0].n_shared
        longest = max(len(row.own) for row in rows) + max_new_tokens
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
        """Return hidden states [T, D] of tokens at these positions; of prompts only [B, D], of their last."""
        device = self.model.device
        rows_B: slice | torch.Tensor = slice(None)
        narrowed: AbstractContextManager[None] = nullcontext()
        if isinstance(attention, Prefill):
            rows_B = torch.tensor([span.stop - 1 for span in attention.spans], device=device)
            if self._last_layer is not None:
                narrowed = restricted_to_rows(rows_B, self._last_layer, attention)
        with using_backend(attention, self.model.module), narrowed:
            hidden_TD = self.model.hidden(
                torch.tensor([tokens], device=device), position_ids=torch.tensor([places], device=device)
            )[0]
        check_layers(attention.layers, self._n_layers)
        return hidden_TD[rows_B]

    def n_slots(self, n_rows: int, capacity: int, share: float = SHARE_OF_FREE) -> int:
        """Return how many slots pay: no more than rows, and no more than fit into a share of free memory."""
        config = text_config(self.model.module)
        heads = getattr(config, "num_attention_heads", 1)
        head_size = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 4096) // heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        size = cache_dtype(next(self.model.module.parameters()).dtype, self.model.device).itemsize
        slot_bytes = 2 * self._n_layers * kv_heads * head_size * size * capacity
        fitting = int(share * free_bytes(self.model.device) // max(1, slot_bytes))
        return max(1, min(n_rows, self.max_rows, fitting))

    def _shares_prefix(self, job: GenerationJob) -> bool:
        window = getattr(text_config(self.model.module), "sliding_window", None)
        longest = max(len(prompt) for prompt in job.prompts) + job.generation.max_new_tokens
        return self.optimizations.share_prefixes and (window is None or window >= longest)
