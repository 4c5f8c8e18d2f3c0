"""A decode step of fixed shapes for a GPU: every slot in every step, the rows' state kept on the device.

A slot without a row repeats what its last row left; nobody reads it. The step takes token, place and length
of each row from the device and writes the next ones there, so that the host can launch the next step before
it knows the tokens of this one.

Shapes: S slots, C tokens of a slot, K keys that a step reads, N key heads, G query heads of a key head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from milepost.engine.attention_call import AttentionCall, check_layers
from milepost.engine.attention_dense import attend_few, merge
from milepost.engine.attention_hook import using_backend
from milepost.engine.generate.attention import attend_prefix, decode_mask
from milepost.engine.generate.kv_cache import KVCache
from milepost.engine.generate.step_graph import StepGraph
from milepost.engine.memory import is_out_of_memory
from milepost.text.messages import one_line

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator, Fetch
    from milepost.engine.body_and_head import SplitModel

KEY_STEPS = (4, 2, 1)
"""A step reads a quarter of a slot, half of it or all of it: three graphs at most."""
ROUND_KEYS = 64
"""ROUND_CAPACITY is a multiple of it."""


class Sizes(NamedTuple):
    """Sizes of a decoder."""

    n_slots: int
    capacity: int
    n_prefix: int


@dataclass(slots=True)
class FixedDecode:
    """The attention of one new token in each slot."""

    cache: KVCache
    lengths_S: torch.Tensor
    """Tokens behind the prefix that each slot has already, on the device."""
    n_keys: int
    layers: list[int] = field(default_factory=list)
    _masks: dict[tuple[int | None, int, int], torch.Tensor] = field(default_factory=dict)

    def attend(self, layer: int, call: AttentionCall) -> torch.Tensor:
        """See `AttentionBackend.attend`."""
        self.layers.append(layer)
        key, value = call.key, call.value
        n_rows, heads, groups = call.query.shape[2], key.shape[1], call.groups
        keys, values = self.cache.layer(layer, key, value)
        row = torch.arange(n_rows, device=key.device)
        keys[row, :, :, self.lengths_S] = key[0].transpose(0, 1)
        values[row, :, self.lengths_S] = value[0].transpose(0, 1)
        query_SNGD = call.query[0].transpose(0, 1).reshape(n_rows, heads, groups, -1)
        prefix = self.cache.prefix.get(layer)
        kept = call.with_tensors(query_SNGD, keys[..., : self.n_keys], values[:, :, : self.n_keys])
        output, log_total = attend_few(kept, self._mask(call), merged=prefix is not None)
        if prefix is not None and log_total is not None:
            output = merge((output, log_total), attend_prefix(call.with_tensors(query_SNGD, *prefix)))
        return output.reshape(1, n_rows, heads * groups, -1)

    def _mask(self, call: AttentionCall) -> torch.Tensor:
        kind = call.window, call.key.shape[1], call.groups
        if kind not in self._masks:
            self._masks[kind] = decode_mask(self.lengths_S[:, None], self.n_keys, call)
        return self._masks[kind]


class FixedDecoder:
    """A KV cache, the state of its rows on the device, and the recorded steps over them."""

    def __init__(
        self,
        model: SplitModel,
        accelerator: Accelerator,
        sizes: Sizes,
        *,
        n_layers: int,
        graphs: bool = True,
    ) -> None:
        """`graphs`: whether steps are recorded."""
        self.sizes = sizes
        self.cache = KVCache(sizes.n_slots, sizes.capacity)
        self.reason: str | None = None if graphs else "switched off"
        """Reason why steps are not recorded."""
        self._model, self._accelerator, self._n_layers = model, accelerator, n_layers
        device = model.device
        self._last_place = torch.zeros((), dtype=torch.int64, device=device)
        self._tokens_S = torch.zeros(sizes.n_slots, dtype=torch.int64, device=device)
        self._places_S, self._lengths_S = torch.zeros_like(self._tokens_S), torch.zeros_like(self._tokens_S)
        self._chosen_S = torch.zeros_like(self._tokens_S)
        self._logits_SV: torch.Tensor | None = None
        self._logits_of: dict[int, torch.Tensor] = {}
        """Logits of the recorded steps, by number of keys."""
        self._graphs: dict[int, StepGraph] = {}

    def fits(self, n_rows: int, longest: int, n_prefix: int) -> bool:
        """Return whether this decoder suits rows as well as a new one would.

        Args:
            n_rows: slots of the new one.
            longest: tokens behind the prefix that the longest row can get.
            n_prefix: tokens of the shared prefix.
        """
        sizes = self.sizes
        room = longest <= sizes.capacity <= 2 * max(longest, ROUND_KEYS)
        return sizes.n_prefix == n_prefix and room and sizes.n_slots >= n_rows

    def set_last_place(self, place: int) -> None:
        """Set the largest position that the model may get."""
        self._last_place.fill_(place)

    def set_rows(self, tokens: Sequence[int], places: Sequence[int], lengths: Sequence[int]) -> None:
        """Set, for each of S slots, the row's last token, its place, and the number of tokens before it."""
        for tensor, values in (
            (self._tokens_S, tokens), (self._places_S, places), (self._lengths_S, lengths),
        ):  # fmt: skip
            tensor.copy_(self._accelerator.upload(np.asarray(values, dtype=np.int64)), non_blocking=True)

    def launch(self, longest: int) -> Fetch:
        """Launch one step without waiting for it.

        Args:
            longest: tokens behind the prefix that the longest row has, its new one included.

        Returns:
            [S] the most likely next token of each row, on its way to the host; -1 if the model gave NaN.
        """
        n_keys = self._n_keys(longest)
        if self.reason is None and n_keys not in self._graphs:
            self._record(n_keys)
        if self.reason is None:
            self._logits_SV = self._logits_of[n_keys]
            self._graphs[n_keys].replay()
        else:
            self._step(n_keys)
        return self._accelerator.fetch(self._chosen_S)

    @property
    def logits_SV(self) -> torch.Tensor:
        """Logits of the last step, valid until the next one."""
        assert self._logits_SV is not None
        return self._logits_SV

    @property
    def n_graphs(self) -> int:
        return len(self._graphs)

    def _n_keys(self, longest: int) -> int:
        capacity = self.sizes.capacity
        rounded = (math.ceil(capacity / part / ROUND_KEYS) * ROUND_KEYS for part in KEY_STEPS)
        return next(n_keys for n_keys in rounded if min(n_keys, capacity) >= longest)

    def _record(self, n_keys: int) -> None:
        pool = next((graph.pool for graph in self._graphs.values()), None)
        state = [self._tokens_S, self._places_S, self._lengths_S]
        try:
            graph = StepGraph(self._accelerator, lambda: self._step(n_keys), state, pool)
            self._graphs[n_keys], self._logits_of[n_keys] = graph, self.logits_SV
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._graphs.clear()
            self._logits_of.clear()
            self.reason = f"steps are not recorded: {one_line(error)}"

    def _step(self, n_keys: int) -> None:
        attention = FixedDecode(self.cache, self._lengths_S, n_keys)
        with using_backend(attention, self._model.module):
            hidden_1SD = self._model.hidden(self._tokens_S[None], position_ids=self._places_S[None])
        check_layers(attention.layers, self._n_layers)
        self._logits_SV = self._model.logits(hidden_1SD[0])
        largest_S, argmax_S = self._logits_SV.float().max(-1)
        self._chosen_S.copy_(argmax_S.masked_fill(largest_S.isnan(), -1))
        self._tokens_S.copy_(argmax_S)
        # A slot without a row decodes for ever: it must not pass its slot's end nor the last position.
        self._places_S.copy_(torch.minimum(self._places_S + 1, self._last_place))
        self._lengths_S.add_(1).clamp_(max=self.sizes.capacity - 1)
