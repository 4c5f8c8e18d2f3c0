"""Runs packs on a GPU: FlexAttention over the whole pack, the model compiled layer by layer.

Every pack and its context are padded to one size, and what changes from pack to pack is copied into tensors
at fixed addresses. To the model's layers the attention is one opaque operation (`attention_op`), so there are
two graphs in all: a layer, and the attention inside the operation. FlexAttention without a compiler would
build the whole matrix of logits; the runner refuses that and counts it in `dense_calls`.

Shapes: T tokens of a full pack, C context rows, H query heads, N key heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from milepost.engine.attention_call import AttentionCall, UnsupportedAttentionError, check_layers
from milepost.engine.attention_op import using_pack_attention
from milepost.engine.body_and_head import forward_replaced
from milepost.engine.gpu_values import Context, Output, RunnerSettings
from milepost.engine.kernel_options import MIN_HEAD_SIZE
from milepost.engine.memory import is_out_of_memory
from milepost.engine.pack_graphs import PackGraphs
from milepost.engine.tree_mask import UNLIMITED, Visibility, block_mask, empty_blocks

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator
    from milepost.engine.body_and_head import SplitModel
    from milepost.engine.gpu_packs import StagedPack
    from milepost.engine.layer_shapes import LayerShape

UNCHECKED = 128
"""FlexAttention's kernel checks no bounds if rows and keys are multiples of it, whatever its tiles
(`IS_DIVISIBLE` in torch/_inductor/kernel/flex/flex_attention.py)."""
MAX_GRAPHS = 64
"""Graphs of one function after which torch runs it uncompiled; far above the number of pack sizes."""


class DenseAttentionError(Exception):
    """FlexAttention was about to run without a compiler, over a whole pack at once."""


class KernelError(Exception):
    """The attention kernel could not be built or run."""


class FlexRunner:
    """Runs packs of at most `settings.n_tokens` tokens with at most `settings.n_context` rows of context."""

    dense_calls = 0
    """Calls of FlexAttention without a compiler, in any runner; each was refused."""

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
        visibility = Visibility(*self._seen_2K)
        self._blocks = {shape.window: empty_blocks(n_tokens, n_context, device) for shape in shapes}
        self._masks = {
            window: block_mask(visibility, blocks, n_context, self._window(window))
            for window, blocks in self._blocks.items()
        }
        self._empty = {shape: _empty_layer(shape, n_context, device) for shape in shapes}
        self._flex = torch.compile(_flex, backend=self._backend, dynamic=False, fullgraph=True)
        self._layers = self._compiled_layers() if settings.compiled_layers else []
        self._above: Context | None = None
        self._below: Context = []
        self._has_below = False
        self._kept_at: Context | None = None
        """Tensors for the context below a pack; None for new ones."""
        self._careful = False
        self._n_attended = 0
        self._graphs = PackGraphs(accelerator, self._empty_context, self._into) if settings.graphs else None

    def _window(self, window: int | None) -> torch.Tensor | None:
        if self._blocks.keys() == {None}:
            return None
        return torch.tensor(window or UNLIMITED, dtype=torch.int32, device=self._input_2T.device)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Prepare the model for `run`; it must not be used otherwise while the context is open."""
        with ExitStack() as stack:
            stack.enter_context(torch._dynamo.config.patch(recompile_limit=MAX_GRAPHS))
            stack.enter_context(using_pack_attention(self, self.model.module))
            for layer, forward in self._layers:
                stack.enter_context(forward_replaced(layer, forward))
            yield

    def run(self, pack: StagedPack, above: Context | None, *, careful: bool = False) -> Output:
        """Launch one forward pass; the host does not wait for it.

        Args:
            above: its context, or None.
            careful: whether to keep values that are not finite from rows that do not see them, at some cost.
        """
        self._input_2T.copy_(pack.input_2T)
        self._seen_2K.copy_(pack.visibility_2K)
        self._keep_C.copy_(pack.keep_C)
        for window, blocks in pack.blocks.items():
            for buffer, new in zip(self._blocks[window].tensors(), blocks.tensors(), strict=True):
                buffer.copy_(new)
        self._careful = careful
        if self._graphs is not None and not careful:
            hidden_TD, below = self._graphs.run(above)
        else:
            hidden_TD, below = self._pass(above, pack.has_below)
        hidden_MD = hidden_TD.index_select(0, pack.needed_M)
        return Output(hidden_MD, torch.isfinite(hidden_TD).all()[None], below if pack.has_below else None)

    def _pass(self, above: Context | None, has_below: bool) -> tuple[torch.Tensor, Context]:
        """Return the hidden states [T, D] of the loaded pack, and the context below it."""
        self._above, self._below, self._has_below, self._n_attended = above, [], has_below, 0
        hidden_TD = self.model.hidden(self._input_2T[:1], position_ids=self._input_2T[1:])[0]
        check_layers(range(self._n_attended), len(self._shapes))
        below = self._below
        self._above, self._below = None, []
        return hidden_TD, below

    def _into(self, above: Context | None, below: Context) -> torch.Tensor:
        """Run the loaded pack, write the context below into given tensors and return the hidden states."""
        self._kept_at = below
        try:
            return self._pass(above, has_below=True)[0]
        finally:
            self._kept_at = None

    def _empty_context(self) -> Context:
        device = self._input_2T.device
        return [_empty_layer(shape, self.settings.n_context, device) for shape in self._shapes]

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """See `PackAttention.attend`."""
        shape = self._shapes[self._n_attended % len(self._shapes)]
        if (call.scale, call.window, call.softcap) != (shape.scale, shape.window, shape.softcap):
            raise UnsupportedAttentionError("the model's attention layers differ from those of a short input")
        layer = self._n_attended
        above_key, above_value = self._above[layer] if self._above else self._empty[shape]
        self._n_attended += 1
        keys = torch.cat([above_key, call.key], dim=2)
        values = torch.cat([above_value, call.value], dim=2)
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
        output = self._run_kernel(call.with_tensors(call.query, keys, values))
        if broken_T is not None:
            output = torch.where(broken_T[None, None, :, None], torch.nan, output)
        return output.transpose(1, 2).contiguous()

    def _run_kernel(self, call: AttentionCall) -> torch.Tensor:
        try:
            output: torch.Tensor = self._flex(
                _wide_enough(call.query),
                _wide_enough(call.key),
                _wide_enough(call.value),
                self._masks[call.window],
                call.scale,
                call.softcap,
                self.settings.options.for_flex(),
            )
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise KernelError(f"{type(error).__name__}: {error}") from error
        return output[..., : call.value.shape[3]]

    def _rows_that_see(self, broken_K: torch.Tensor) -> torch.Tensor:
        """Return [T] which rows see a key that is not finite; a mask cannot hide it, since 0 * NaN is NaN."""
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
    untyped: Any = flex_attention  # its overloads do not accept a plain dictionary of options
    output: torch.Tensor = untyped(
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
    """Pad with zeros to the smallest head size that the kernel takes; zeros add nothing to a product."""
    missing = MIN_HEAD_SIZE - part.shape[3]
    return part if missing <= 0 else torch.nn.functional.pad(part, (0, missing))


def _empty_layer(
    shape: LayerShape, n_context: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    def zeros(size: int) -> torch.Tensor:
        return torch.zeros(1, shape.n_key_heads, n_context, size, dtype=shape.dtype, device=device)

    return zeros(shape.head_size), zeros(shape.value_size)


def round_up(n: int) -> int:
    """Return the smallest multiple of UNCHECKED that is not below n, at least one."""
    return max(1, -(-n // UNCHECKED)) * UNCHECKED
