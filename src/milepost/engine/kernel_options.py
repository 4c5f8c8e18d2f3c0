"""Chooses tile sizes for FlexAttention's kernel on a card: the first options whose shared memory fits.

torch's own defaults do not fit everywhere: with heads of 256 in bfloat16, or of 128 in float32, they need
half as much memory again as a 24 GB card has, and compilation fails. So the memory is computed before. The
formula was fitted to kernels assembled with Triton 3.6 and 3.7 (`benchmarks/kernels.py`; the values are in
`tests/engine/assembled_kernels.csv`) and is never below them.

Shapes: M query rows and N keys of a tile, D head size rounded up to a power of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

MIN_HEAD_SIZE = 16
"""The smallest dimension of Triton's matrix product."""
BLOCK = 64
"""Rows and keys of a block of the mask: a multiple of those of every tile below."""
OLDEST_CAPABILITY = (7, 0)
"""The oldest cards that Triton generates code for."""
FIRST_WITH_BFLOAT16 = (8, 0)
FIRST_WITH_ASYNC_COPIES = (8, 0)
"""Kernels of older cards have no pipeline and use no tensor cores in Triton."""
WITH_OPERANDS_IN_SHARED_MEMORY = {(9, 0), (10, 0), (10, 3)}
"""Hopper and data-centre Blackwell: their matrix instructions read both operands from shared memory."""
ROWS_OF_SUCH_AN_INSTRUCTION = 64
MASK_BYTES_PER_KEY = 16
"""The mask reads a key's end and, with a window, its position: two int64."""
REDUCTION_BYTES = 1024
"""For the row maxima and sums across warps, and the barriers of a pipeline."""
SHARED_BYTES = {
    (7, 0): 98_304,
    (7, 2): 98_304,
    (7, 5): 65_536,
    (8, 0): 166_912,
    (8, 6): 101_376,
    (8, 7): 166_912,
    (8, 9): 101_376,
    (9, 0): 232_448,
    (10, 0): 232_448,
    (10, 3): 232_448,
    (11, 0): 232_448,
    (12, 0): 101_376,
    (12, 1): 101_376,
}
"""The most shared memory of one thread block, by compute capability (CUDA C++ programming guide)."""
MIN_SHARED_BYTES = 49_152
"""For a card that is not in the list."""


class Card(NamedTuple):
    """The properties of a GPU that decide which kernels run on it."""

    capability: tuple[int, int]
    """Compute capability, such as (8, 6)."""
    shared_bytes: int
    """The most shared memory of one thread block."""

    @classmethod
    def of(cls, device: torch.device) -> Card:
        """Return the card of a CUDA device."""
        properties = torch.cuda.get_device_properties(device)
        return cls.named((properties.major, properties.minor), properties)

    @classmethod
    def named(cls, capability: tuple[int, int], properties: object = None) -> Card:
        """Return a card of that capability, with the shared memory of its properties or of NVIDIA's list."""
        listed = SHARED_BYTES.get(capability, MIN_SHARED_BYTES)
        return cls(capability, int(getattr(properties, "shared_memory_per_block_optin", listed)))


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """Tile sizes of FlexAttention's forward kernel."""

    rows: int
    """Queries in a tile."""
    keys: int
    """Keys in a tile."""
    stages: int
    """Tiles of keys and values in flight."""
    warps: int

    def for_flex(self) -> dict[str, int | bool]:
        """Return the `kernel_options` of `flex_attention`, for masks in which every row sees a key."""
        return {
            "BLOCK_M": self.rows,
            "BLOCK_N": self.keys,
            "num_stages": self.stages,
            "num_warps": self.warps,
            "FORCE_USE_FLEX_ATTENTION": True,
            "ROWS_GUARANTEED_SAFE": True,
        }

    def __str__(self) -> str:
        return f"{self.rows} x {self.keys}, {self.stages} stages"


HALF_PRECISION = (
    KernelOptions(64, 64, 3, 4),
    KernelOptions(64, 64, 2, 4),
    KernelOptions(64, 32, 2, 4),
    KernelOptions(32, 32, 2, 4),
    KernelOptions(32, 16, 2, 4),
    KernelOptions(16, 16, 1, 4),
)
"""Best first. With tiles of 64 x 64 several thread blocks fit on a multiprocessor, and fewer of the computed
pairs are masked than with torch's 128 x 128."""
HALF_PRECISION_WIDE_HEADS = (
    KernelOptions(64, 64, 2, 8),
    KernelOptions(64, 32, 2, 8),
    KernelOptions(32, 32, 2, 4),
    KernelOptions(32, 16, 2, 4),
    KernelOptions(16, 16, 1, 4),
)
"""For heads above 128, whose accumulators would fill the registers of four warps."""
PLAIN_PRODUCTS = (
    KernelOptions(32, 32, 2, 4),
    KernelOptions(32, 16, 2, 4),
    KernelOptions(16, 16, 2, 4),
    KernelOptions(16, 16, 1, 4),
)
"""Without tensor cores (float32, and cards before Ampere): larger tiles, or one stage, do not fit into the
registers."""
WIDE_HEAD = 128
LARGEST_WITHOUT_PIPELINE = 64
"""The largest heads for which plain products in tiles of 32 x 32 fit into the registers of a card before
Ampere; later cards have room for heads up to `WIDE_HEAD`."""


def fitting_options(
    head_size: int, dtype: torch.dtype, card: Card, *, value_size: int | None = None
) -> list[KernelOptions]:
    """Return options that fit, best first; empty if none does, for the reason of `reason_without_kernel`.

    Args:
        head_size: of queries and keys.
        dtype: of queries, keys and values.
        card: the card that runs the kernel.
        value_size: head size of the values; None if it is that of the keys.
    """
    if reason_without_kernel(head_size, dtype, card, value_size=value_size) is not None:
        return []
    return [
        options
        for options in _in_order(max(head_size, value_size or 0), dtype, card.capability)
        if shared_bytes(options, head_size, dtype, card.capability, value_size=value_size)
        <= card.shared_bytes
    ]


def reason_without_kernel(
    head_size: int, dtype: torch.dtype, card: Card, *, value_size: int | None = None
) -> str | None:
    """Return in one line why FlexAttention has no kernel for such heads on this card, or None."""
    sizes = (head_size, value_size or head_size)
    version = ".".join(map(str, card.capability))
    if card.capability < OLDEST_CAPABILITY:
        return f"Triton generates no code for compute capability {version}"
    if dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"FlexAttention has no kernel for {str(dtype).removeprefix('torch.')}"
    if dtype == torch.bfloat16 and card.capability < FIRST_WITH_BFLOAT16:
        return f"compute capability {version} has no bfloat16"
    if min(sizes) < MIN_HEAD_SIZE:
        return f"heads of {min(sizes)} are smaller than a kernel's {MIN_HEAD_SIZE}"
    smallest = PLAIN_PRODUCTS[-1]
    needed = shared_bytes(smallest, head_size, dtype, card.capability, value_size=value_size)
    if needed > card.shared_bytes:
        return (
            f"heads of {max(sizes)} need {needed:,} bytes of shared memory of a multiprocessor's "
            f"{card.shared_bytes:,}"
        )
    return None


def shared_bytes(
    options: KernelOptions,
    head_size: int,
    dtype: torch.dtype,
    capability: tuple[int, int],
    *,
    value_size: int | None = None,
) -> int:
    """Return the bytes of shared memory that one thread block of the assembled kernel needs, or a few more.

    They hold the tile of queries; as many tiles of keys and of values as the pipeline has stages (one less if
    the matrix instructions read registers); and the tile of probabilities if the two products are distributed
    over the warps in different ways.
    """
    keys_D, values_D = _padded(head_size), _padded(value_size or head_size)
    rows, keys, stages = options.rows, options.keys, options.stages
    if capability < FIRST_WITH_ASYNC_COPIES:
        # Products run in float32 without tensor cores, with one tile of keys or values at a time;
        # probabilities in half precision overwrite the queries.
        queries, probabilities = rows * keys_D, rows * keys
        held = queries + probabilities if dtype == torch.float32 else max(queries, probabilities)
        return 4 * (held + keys * max(keys_D, values_D)) + REDUCTION_BYTES
    size = dtype.itemsize
    from_shared = (
        _on_tensor_cores(dtype, capability)
        and capability in WITH_OPERANDS_IN_SHARED_MEMORY
        and rows >= ROWS_OF_SUCH_AN_INSTRUCTION
    )
    buffers = stages if from_shared else stages - 1
    one_tile = keys * max(keys_D, values_D)
    tiles = max(buffers * keys * (keys_D + values_D), one_tile) if stages > 1 else one_tile
    alike = from_shared or (_on_tensor_cores(dtype, capability) and rows >= keys and rows >= values_D)
    probabilities = 0 if alike else rows * keys
    mask = (stages - 1) * keys * MASK_BYTES_PER_KEY
    return size * (rows * keys_D + tiles + probabilities) + mask + REDUCTION_BYTES


def _in_order(head_size: int, dtype: torch.dtype, capability: tuple[int, int]) -> tuple[KernelOptions, ...]:
    if not _on_tensor_cores(dtype, capability):
        has_pipeline = capability >= FIRST_WITH_ASYNC_COPIES
        largest = WIDE_HEAD if has_pipeline else LARGEST_WITHOUT_PIPELINE
        return PLAIN_PRODUCTS if head_size <= largest else PLAIN_PRODUCTS[1:]
    return HALF_PRECISION if head_size <= WIDE_HEAD else HALF_PRECISION_WIDE_HEADS


def _padded(head_size: int) -> int:
    return max(MIN_HEAD_SIZE, 1 << (head_size - 1).bit_length())


def _on_tensor_cores(dtype: torch.dtype, capability: tuple[int, int]) -> bool:
    """Return whether Triton multiplies on tensor cores; float32 is not multiplied in TF32."""
    return dtype != torch.float32 and capability >= FIRST_WITH_ASYNC_COPIES
