"""A decode step of fixed shapes for a GPU: every slot in every step, what changes kept on the device.

A slot without a row goes on with what its last row left; nobody reads it. The step takes token, place and
length of each row from the device and puts the next ones there, so that the host can launch the next step
before it knows the tokens of this one.

Shapes: S slots, C tokens of a slot, K keys that a step looks at, N key heads, G query heads of a key head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from milepost.engine.attention_dense import attend_few
from milepost.engine.attention_hook import UnsupportedAttentionError, running
from milepost.engine.generate.attention import attend_prefix, merge
from milepost.engine.generate.kv_cache import KVCache
from milepost.engine.generate.step_graph import StepGraph
from milepost.engine.memory import is_out_of_memory

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator, Fetch
    from milepost.engine.body_and_head import SplitModel

KEY_STEPS = (4, 2, 1)
"""A step looks at a quarter of a slot, half of it or all: as many graphs at most."""
ROUND_KEYS = 64
"""ROUND_CAPACITY is a multiple of it."""


class Sizes(NamedTuple):
    """What a decoder is made for."""

    n_slots: int
    capacity: int
    n_prefix: int


@dataclass(slots=True)
class FixedDecode:
    """The attention of one new token in each slot."""

    slots: KVCache
    lengths_S: torch.Tensor
    """On the device: tokens of its own that each slot has already."""
    n_keys: int
    layers: list[int] = field(default_factory=list)
    _masks: dict[tuple[int | None, int, int], torch.Tensor] = field(default_factory=dict)

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float,
        window: int | None, softcap: float | None,
    ) -> torch.Tensor:  # fmt: skip
        """See `registry.AttentionBackend`."""
        self.layers.append(layer)
        n_rows, heads, groups = query.shape[2], key.shape[1], query.shape[1] // key.shape[1]
        keys, values = self.slots.layer(layer, key, value)
        row = torch.arange(n_rows, device=key.device)
        keys[row, :, :, self.lengths_S] = key[0].transpose(0, 1)
        values[row, :, self.lengths_S] = value[0].transpose(0, 1)
        query_SNGD = query[0].transpose(0, 1).reshape(n_rows, heads, groups, -1)
        prefix = self.slots.prefix.get(layer)
        output, log_total = attend_few(
            query_SNGD,
            keys[..., : self.n_keys],
            values[:, :, : self.n_keys],
            self._mask(window, heads, groups),
            scale,
            softcap,
            merged=prefix is not None,
        )
        if prefix is not None and log_total is not None:
            output = merge((output, log_total), attend_prefix(query_SNGD, prefix, scale, softcap))
        return output.reshape(1, n_rows, heads * groups, -1)

    def _mask(self, window: int | None, heads: int, groups: int) -> torch.Tensor:
        """[S N, G, K], 0 or -inf."""
        kind = window, heads, groups
        if kind not in self._masks:
            last_S1 = self.lengths_S[:, None]
            place_K = torch.arange(self.n_keys, device=last_S1.device)
            seen_SK = place_K <= last_S1
            if window is not None:
                seen_SK = seen_SK & (place_K > last_S1 - window)
            mask_SK = torch.zeros(seen_SK.shape, device=last_S1.device).masked_fill(~seen_SK, float("-inf"))
            mask_SNGK = mask_SK[:, None, None].expand(-1, heads, groups, -1)
            self._masks[kind] = mask_SNGK.reshape(-1, groups, self.n_keys)
        return self._masks[kind]


class FixedDecoder:
    """KVCache of one size, the state of their rows on the device, and the recorded steps over them."""

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
        self.slots = KVCache(sizes.n_slots, sizes.capacity)
        self.reason: str | None = None if graphs else "switched off"
        """Why steps are not recorded."""
        self._model, self._accelerator, self._n_layers = model, accelerator, n_layers
        device = model.device
        self._last_place = torch.zeros((), dtype=torch.int64, device=device)
        self._tokens_S = torch.zeros(sizes.n_slots, dtype=torch.int64, device=device)
        self._places_S, self._lengths_S = torch.zeros_like(self._tokens_S), torch.zeros_like(self._tokens_S)
        self._chosen_S = torch.zeros_like(self._tokens_S)
        self._logits_SV: torch.Tensor | None = None
        self._logits_of: dict[int, torch.Tensor] = {}
        """By keys looked at: where a recorded step leaves its logits."""
        self._graphs: dict[int, StepGraph] = {}

    def fits(self, n_rows: int, longest: int, n_prefix: int) -> bool:
        """Whether rows can go through this decoder as well as through one of their own.

        Args:
            n_rows: how many would go through one of their own at a time.
            longest: tokens of its own that the longest can get.
            n_prefix: tokens that all begin with.
        """
        own = self.sizes
        room = longest <= own.capacity <= 2 * max(longest, ROUND_KEYS)
        return own.n_prefix == n_prefix and room and own.n_slots >= n_rows

    def set_last_place(self, place: int) -> None:
        """The largest position that the model is given from now on."""
        self._last_place.fill_(place)

    def set_rows(self, tokens: Sequence[int], places: Sequence[int], lengths: Sequence[int]) -> None:
        """[S] what the next step takes: each row's last token, its place, and how many are kept before it."""
        for tensor, values in (
            (self._tokens_S, tokens), (self._places_S, places), (self._lengths_S, lengths),
        ):  # fmt: skip
            tensor.copy_(self._accelerator.upload(np.asarray(values, dtype=np.int64)), non_blocking=True)

    def launch(self, longest: int) -> Fetch:
        """One step, of which nothing is waited for.

        Args:
            longest: tokens of its own that the longest row has, its new one included.

        Returns:
            [S] the likeliest next token of each row on its way to the host; -1 where the model gave NaN.
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
        """Of the last step, until the next one."""
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
            self.reason = f"steps are not recorded: {' '.join(str(error).split())[:160]}"

    def _step(self, n_keys: int) -> None:
        attention = FixedDecode(self.slots, self._lengths_S, n_keys)
        with running(attention, self._model.module):
            hidden_1SD = self._model.hidden(self._tokens_S[None], position_ids=self._places_S[None])
        if sorted(attention.layers) != list(range(self._n_layers)):
            raise UnsupportedAttentionError(
                f"its attention was called {len(attention.layers)} times for {self._n_layers} layers"
            )
        self._logits_SV = self._model.logits(hidden_1SD[0])
        largest_S, likeliest_S = self._logits_SV.float().max(-1)
        self._chosen_S.copy_(likeliest_S.masked_fill(largest_S.isnan(), -1))
        self._tokens_S.copy_(likeliest_S)
        # A slot without a row goes on for ever: it must not leave its slot, nor the model's positions.
        self._places_S.copy_(torch.minimum(self._places_S + 1, self._last_place))
        self._lengths_S.add_(1).clamp_(max=self.sizes.capacity - 1)
