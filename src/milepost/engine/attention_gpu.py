"""Packs through a model on a GPU: FlexAttention over the whole pack, all else compiled layer by layer.

Every pack is padded to one size, its context too, and what changes from pack to pack is copied into tensors
that stay where they are. The attention is one opaque operation to the model's layers (`attention_op`): so
there are two graphs in all: a layer, and the attention inside the operation. FlexAttention without a compiler
would build the whole matrix of scores; that is never done, and `dense_calls` would tell.

Shapes: T tokens of a full pack, C context rows, H query heads, N key heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from milepost.engine.attention_hook import UnsupportedAttentionError
from milepost.engine.attention_op import using_pack_attention
from milepost.engine.body_and_head import forward_replaced
from milepost.engine.kernel_options import MIN_HEAD_SIZE
from milepost.engine.memory import is_out_of_memory
from milepost.engine.pack_graphs import PackGraphs
from milepost.engine.tree_mask import UNLIMITED, Visibility, block_mask, empty_blocks

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator
    from milepost.engine.body_and_head import SplitModel
    from milepost.engine.gpu_packs import StagedPack
    from milepost.engine.kernel_options import KernelOptions
    from milepost.engine.layer_shapes import LayerShape

UNCHECKED = 128
"""Where rows and keys are multiples of it, FlexAttention's kernel checks no bounds, whatever its tiles
(`IS_DIVISIBLE` in torch/_inductor/kernel/flex/flex_attention.py)."""
MAX_GRAPHS = 64
"""Of one function, before torch would run it uncompiled; far above what sizes of packs can make of it."""

Context = list[tuple[torch.Tensor, torch.Tensor]]
"""Of each layer, keys and values [1, N, C, D] of the rows above a pack."""


class DenseAttentionError(Exception):
    """FlexAttention was about to run without a compiler, over a whole pack at once."""


class KernelError(Exception):
    """The attention kernel could not be built or run."""


class Output(NamedTuple):
    """What a pack's forward pass left on the device."""

    hidden_MD: torch.Tensor
    """At the rows whose logits are wanted."""
    is_sound: torch.Tensor
    """[1] whether all hidden states of the pack are numbers."""
    below: Context | None
    """The context of the pack that starts where this one stops; None where that needs none."""


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How a runner computes."""

    n_tokens: int
    n_context: int
    options: KernelOptions
    compiled_layers: bool
    graphs: bool = False
    """Whether passes are recorded as CUDA graphs."""


class FlexRunner:
    """Runs packs of at most `settings.n_tokens` tokens with at most `settings.n_context` rows of context."""

    dense_calls = 0
    """Calls of FlexAttention without a compiler, by any runner; each was refused."""

    def __init__(
        self, model: SplitModel, accelerator: Accelerator, shapes: list[LayerShape], settings: RunnerSettings
    ) -> None:
        self.model = model
        self.settings = settings
        self._shapes = shapes
        self._backend = accelerator.backend
        device = accelerator.device
        n_tokens, n_context = settings.n_tokens, settings.n_context
        self._input_2T = torch.zeros(2, n_tokens, dtype=torch.int64, device=device)
        self._seen_2K = torch.zeros(2, n_context + n_tokens, dtype=torch.int32, device=device)
        self._keep_C = torch.zeros(n_context, dtype=torch.int32, device=device)
        seen = Visibility(*self._seen_2K)
        self._blocks = {shape.window: empty_blocks(n_tokens, n_context, device) for shape in shapes}
        self._masks = {
            window: block_mask(seen, blocks, n_context, self._window(window))
            for window, blocks in self._blocks.items()
        }
        self._nothing = {shape: _no_context(shape, n_context, device) for shape in shapes}
        self._flex = torch.compile(_flex, backend=self._backend, dynamic=False, fullgraph=True)
        self._layers = self._compiled_layers() if settings.compiled_layers else []
        self._above: Context | None = None
        self._below: Context = []
        self._has_below = False
        self._kept_at: Context | None = None
        """Where the context below a pack is to be written; None for new tensors."""
        self._careful = False
        self._n_answered = 0
        self._graphs = PackGraphs(accelerator, self._empty_context, self._into) if settings.graphs else None

    def _window(self, window: int | None) -> torch.Tensor | None:
        if self._blocks.keys() == {None}:
            return None
        return torch.tensor(window or UNLIMITED, dtype=torch.int32, device=self._input_2T.device)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it, `run` may be called, and the model is good for nothing else."""
        with ExitStack() as stack:
            stack.enter_context(torch._dynamo.config.patch(recompile_limit=MAX_GRAPHS))
            stack.enter_context(using_pack_attention(self, self.model.module))
            for layer, forward in self._layers:
                stack.enter_context(forward_replaced(layer, forward))
            yield

    def run(self, pack: StagedPack, above: Context | None, *, careful: bool = False) -> Output:
        """One forward pass, which the host does not wait for.

        Args:
            pack: what to run.
            above: of its context; None where it has none.
            careful: keep what is no number from rows that do not see it, at some cost.
        """
        self._input_2T.copy_(pack.input_2T)
        self._seen_2K.copy_(pack.visibility_2K)
        self._keep_C.copy_(pack.keep_C)
        for window, blocks in pack.blocks.items():
            for own, new in zip(self._blocks[window].tensors(), blocks.tensors(), strict=True):
                own.copy_(new)
        self._careful = careful
        if self._graphs is not None and not careful:
            hidden_TD, below = self._graphs.run(above)
        else:
            hidden_TD, below = self._pass(above, pack.has_below)
        hidden_MD = hidden_TD.index_select(0, pack.needed_M)
        return Output(hidden_MD, torch.isfinite(hidden_TD).all()[None], below if pack.has_below else None)

    def _pass(self, above: Context | None, has_below: bool) -> tuple[torch.Tensor, Context]:
        """Hidden states [T, D] of the pack that is in place, and the context below it."""
        self._above, self._below, self._has_below, self._n_answered = above, [], has_below, 0
        hidden_TD = self.model.hidden(self._input_2T[:1], position_ids=self._input_2T[1:])[0]
        if self._n_answered != len(self._shapes):
            raise UnsupportedAttentionError(
                f"its attention was called {self._n_answered} times for {len(self._shapes)} layers"
            )
        below = self._below
        self._above, self._below = None, []
        return hidden_TD, below

    def _into(self, above: Context | None, below: Context) -> torch.Tensor:
        """The same, where the context below is written in place."""
        self._kept_at = below
        try:
            return self._pass(above, has_below=True)[0]
        finally:
            self._kept_at = None

    def _empty_context(self) -> Context:
        device = self._input_2T.device
        return [_no_context(shape, self.settings.n_context, device) for shape in self._shapes]

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        """See `attention_op.PackAttention`."""
        shape = self._shapes[self._n_answered % len(self._shapes)]
        if (scale, window, softcap) != (shape.scale, shape.window, shape.softcap):
            raise UnsupportedAttentionError("its attention layers are not those of a short input")
        layer = self._n_answered
        above_key, above_value = self._above[layer] if self._above else self._nothing[shape]
        self._n_answered += 1
        keys, values = torch.cat([above_key, key], dim=2), torch.cat([above_value, value], dim=2)
        if self._has_below:
            kept_key, kept_value = self._kept_at[layer] if self._kept_at else (None, None)
            self._below.append(
                (
                    torch.index_select(keys, 2, self._keep_C, out=kept_key),
                    torch.index_select(values, 2, self._keep_C, out=kept_value),
                )
            )
        broken_T = None
        if self._careful:
            sound_K = torch.isfinite(keys).all(3).all(1)[0] & torch.isfinite(values).all(3).all(1)[0]
            keys = torch.where(sound_K[:, None], keys, 0)
            values = torch.where(sound_K[:, None], values, 0)
            broken_T = self._rows_that_see(~sound_K)
        output = self._run_kernel(query, keys, values, scale, window, softcap)
        if broken_T is not None:
            output = torch.where(broken_T[None, None, :, None], torch.nan, output)
        return output.transpose(1, 2).contiguous()

    def _run_kernel(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        value_size = values.shape[3]
        try:
            output: torch.Tensor = self._flex(
                _wide_enough(query),
                _wide_enough(keys),
                _wide_enough(values),
                self._masks[window],
                scale,
                softcap,
                self.settings.options.for_flex(),
            )
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise KernelError(f"{type(error).__name__}: {error}") from error
        return output[..., :value_size]

    def _rows_that_see(self, broken_K: torch.Tensor) -> torch.Tensor:
        """[T] which rows see a key that is no number; a mask cannot hide those, since 0 * NaN is NaN."""
        n_context = self.settings.n_context
        broken = broken_K.to(torch.int32)
        first_row = (torch.arange(len(broken), device=broken.device) - n_context).clamp(min=0)
        ends = torch.maximum(self._seen_2K[0].long(), first_row)
        change = torch.zeros(self.settings.n_tokens + 1, dtype=torch.int32, device=broken.device)
        change = change.index_add(0, first_row, broken).index_add(0, ends, -broken)
        return change.cumsum(0)[:-1] > 0

    def _compiled_layers(self) -> list[tuple[torch.nn.Module, Callable[..., Any]]]:
        return [
            (layer, torch.compile(layer.forward, backend=self._backend, dynamic=False))
            for layer in self.model.layers(len(self._shapes))
        ]


def _flex(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: BlockMask,
    scale: float,
    softcap: float | None,
    options: dict[str, int | bool],
) -> torch.Tensor:
    if not torch.compiler.is_compiling():
        FlexRunner.dense_calls += 1
        raise DenseAttentionError("torch.compile did not compile FlexAttention")
    call: Any = flex_attention  # its overloads do not know plain dictionaries of options
    output: torch.Tensor = call(
        query,
        keys,
        values,
        score_mod=None if softcap is None else _soft_cap(softcap),
        block_mask=mask,
        scale=scale,
        enable_gqa=query.shape[1] != keys.shape[1],
        kernel_options=options,
    )
    return output


def _soft_cap(cap: float) -> Callable[..., torch.Tensor]:
    def score(score: torch.Tensor, _b: Any, _h: Any, _q: Any, _k: Any) -> torch.Tensor:
        return torch.tanh(score / cap) * cap

    return score


def _wide_enough(part: torch.Tensor) -> torch.Tensor:
    """With zeros up to the smallest head size that the kernel takes; they add nothing to a product."""
    missing = MIN_HEAD_SIZE - part.shape[3]
    return part if missing <= 0 else torch.nn.functional.pad(part, (0, missing))


def _no_context(shape: LayerShape, n_context: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    def zeros(size: int) -> torch.Tensor:
        return torch.zeros(1, shape.n_key_heads, n_context, size, dtype=shape.dtype, device=device)

    return zeros(shape.head_size), zeros(shape.value_size)


def round_up(n: int) -> int:
    """The multiple of UNCHECKED at or above n, at least one."""
    return max(1, -(-n // UNCHECKED)) * UNCHECKED
