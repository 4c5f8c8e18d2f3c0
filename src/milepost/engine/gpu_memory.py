"""Estimates the largest pack that fits on a GPU, from a forward pass's peak memory by the model's shapes.

The estimate counts everything that grows with the pack or its context: activations at a layer's widest point,
keys and values of the context of the packs under way, the mask's blocks, rows that wait for the LM head, and
a block of logits. It is 1 to 4 times what forward passes of several architectures really hold
(`tests/engine/test_gpu_memory.py`).

It plans with a part of the free memory only, so that a second process that starts at the same moment on the
same card finds as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milepost.engine.kernel_options import BLOCK
from milepost.engine.lm_head_gpu import COLUMNS_PER_CHUNK, ROWS_PER_BLOCK

if TYPE_CHECKING:
    import torch

    from milepost.engine.layer_shapes import LayerShape

SHARE_OF_FREE = 0.45
"""Share of the card's free memory for one process."""
MIN_TOKENS = 1024
CONTEXTS = 3
"""Contexts whose keys and values are alive at once: above and below two packs under way."""
HIDDEN_COPIES, INTERMEDIATE_COPIES, QUERY_COPIES, KEY_COPIES = 8, 4, 4, 6
"""Tensors alive at a layer's widest point, in multiples of their widths."""
SHELF_SHARE, MAX_SHELF_BYTES = 0.02, 2**30
"""Share and most bytes for packs that stay on the card for the next checkpoint."""
STAGING_SHARE = 0.25
"""Share for the next checkpoint's weights."""
WIDEST_IN_A_FILE = 4
"""Bytes of a number: float32."""


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Memory that scoring needs on a card beside the weights."""

    token_bytes: int
    """Bytes per token of a full pack."""
    context_bytes: int
    """Bytes per row of context."""
    pair_bytes: float
    """Bytes per pair of a token and a key: the blocks of masks."""
    head_bytes: int
    """Bytes for one block of logits."""

    @classmethod
    def of(cls, config: Any, shapes: list[LayerShape], vocab_size: int) -> MemoryModel:
        """Return the memory model for a text config and its layers."""
        itemsize = shapes[0].dtype.itemsize
        hidden = int(getattr(config, "hidden_size", None) or getattr(config, "n_embd", None) or 4096)
        intermediate = _widest_intermediate(config, hidden)
        routes = int(getattr(config, "num_experts_per_tok", None) or 1)
        queries = max(shape.n_heads * max(shape.head_size, shape.value_size) for shape in shapes)
        row_bytes = [shape.row_bytes for shape in shapes]
        widths = HIDDEN_COPIES * hidden * routes + INTERMEDIATE_COPIES * intermediate + QUERY_COPIES * queries
        # Ids, positions, key ends; and rows that wait for the head, at worst all.
        others = 2 * 8 + 2 * 4 + hidden * itemsize
        n_windows = len({shape.window for shape in shapes})
        columns = min(COLUMNS_PER_CHUNK, vocab_size)
        return cls(
            token_bytes=widths * itemsize + KEY_COPIES * max(row_bytes) + others,
            context_bytes=CONTEXTS * sum(row_bytes) + KEY_COPIES * max(row_bytes),
            # Two int32 orders per window, for this pack and the staged one, and temporaries to find them.
            pair_bytes=(2 * n_windows * 2 * 4 + 12 * BLOCK) / BLOCK**2,
            head_bytes=ROWS_PER_BLOCK * columns * (itemsize + 3 * 4),
        )

    def needed(self, n_tokens: int, n_context: int) -> int:
        """Return the bytes that packs of that size need."""
        pairs = n_tokens * (n_tokens + n_context)
        return (
            n_tokens * self.token_bytes
            + n_context * self.context_bytes
            + int(pairs * self.pair_bytes)
            + self.head_bytes
        )

    def fitting_tokens(self, free_bytes: int, n_context: int, most: int) -> int:
        """Return the largest pack that fits: `most` halved as often as needed, but not below MIN_TOKENS."""
        n_tokens = most
        while n_tokens > MIN_TOKENS and self.needed(n_tokens, n_context) > SHARE_OF_FREE * free_bytes:
            n_tokens //= 2
        return n_tokens


def pack_cache_bytes(free_bytes: int) -> int:
    """Return the room for packs that stay on the card."""
    return min(MAX_SHELF_BYTES, int(SHELF_SHARE * free_bytes))


def staging_bytes(module: torch.nn.Module, free_bytes: int) -> int:
    """Return the room for the next checkpoint's weights and one of its tensors in the file's dtype; 0 if they
    would take more than STAGING_SHARE of the free memory from the packs."""
    tensors = [*module.parameters(), *module.buffers()]
    largest = max((tensor.numel() for tensor in tensors), default=0)
    wanted = sum(tensor.nbytes for tensor in tensors) + WIDEST_IN_A_FILE * largest
    return wanted if wanted <= STAGING_SHARE * free_bytes else 0


def _widest_intermediate(config: Any, hidden: int) -> int:
    """Return the widest activation of a layer's MLP, over all experts that a token is routed to."""
    plain = getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None)
    plain = plain or getattr(config, "n_inner", None) or 4 * hidden
    chosen = getattr(config, "num_experts_per_tok", None) or 1
    expert = getattr(config, "moe_intermediate_size", None) or (plain if chosen > 1 else 0)
    return int(max(plain, chosen * expert))
