"""FlexAttention's forward kernel, as Inductor generates it for the packed engine's tree mask.

Ported by hand from torch's template (torch/_inductor/kernel/flex/templates, torch 2.11 and 2.13), with the
mask of `milepost.engine.attention_gpu` written into it: Inductor generates CUDA code only where there is a
CUDA device, and this kernel can be assembled without one.
Imports Triton alone, which a torch for CPUs does not bring: `pip install triton`.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

T, C, H, G = 32_768, 1_024, 16, 4
"""Tokens and context rows of a pack, query heads, query heads that share one of keys."""
POINTERS = {
    "q_ptr": None,
    "k_ptr": None,
    "v_ptr": None,
    "out_ptr": None,
    "lse_ptr": "*fp32",
    "key_end_ptr": "*i64",
    "key_position_ptr": "*i64",
    "partial_number_ptr": "*i32",
    "partial_order_ptr": "*i32",
    "full_number_ptr": "*i32",
    "full_order_ptr": "*i32",
}
"""Types of the kernel's pointers; None for that of queries, keys and values."""
POINTER_TYPES = {"float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16"}


@triton.jit
def _tile(
    q, k_ptr, v_ptr, key_end_ptr, key_position_ptr, acc, total, largest, row, key, first,
    SCALE: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, N: tl.constexpr, CONTEXT: tl.constexpr,
    WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, PRECISION: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, DP)
    key_row = first + tl.arange(0, N)
    place = key_row[:, None] * D + column[None, :]
    k = tl.load(k_ptr + place) if D == DP else tl.load(k_ptr + place, mask=column[None, :] < D, other=0.0)
    score = tl.dot(q, tl.trans(k), input_precision=PRECISION) * SCALE
    if SOFTCAP > 0:
        tail = tl.exp(-2.0 * tl.abs(score / SOFTCAP))
        size = (1 - tail) / (1 + tail)
        score = tl.where(score < 0, -size, size) * SOFTCAP
    if not FULL:
        seen = (key - CONTEXT <= row) & (row < tl.load(key_end_ptr + key))
        if WINDOW > 0:
            away = tl.load(key_position_ptr + row + CONTEXT) - tl.load(key_position_ptr + key)
            seen = seen & (away < WINDOW)
        score = tl.where(seen, score, float("-inf"))
    score *= 1.44269504
    new_largest = tl.maximum(largest, tl.max(score, 1))
    safe = tl.where(new_largest == float("-inf"), 0, new_largest)
    shrunk = tl.math.exp2(largest - safe)
    p = tl.math.exp2(score - safe[:, None])
    total = total * shrunk + tl.sum(p, 1)
    acc = acc * shrunk[:, None]
    v = tl.load(v_ptr + place) if D == DP else tl.load(v_ptr + place, mask=column[None, :] < D, other=0.0)
    acc = tl.dot(p.to(q.dtype), v, acc, input_precision=PRECISION)
    return acc, total, new_largest


@triton.jit
def _to_next(step, order_ptr, number, BLOCK: tl.constexpr, MULTIPLE: tl.constexpr, N: tl.constexpr):
    at = step // MULTIPLE
    here = tl.load(order_ptr + at, eviction_policy="evict_last")
    following = tl.load(order_ptr + at + 1, eviction_policy="evict_last", mask=at + 1 < number)
    jumps = (step + 1) % MULTIPLE == 0
    return ((following - here) * BLOCK - (MULTIPLE - 1) * N) * jumps + (1 - jumps) * N


@triton.jit
def _blocks(
    q, k_ptr, v_ptr, key_end_ptr, key_position_ptr, acc, total, largest, row, number_ptr, order_ptr,
    SCALE: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, N: tl.constexpr, CONTEXT: tl.constexpr,
    KEYS: tl.constexpr, BLOCK: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr,
    PRECISION: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    MULTIPLE: tl.constexpr = BLOCK // N
    start = tl.load(order_ptr) * BLOCK
    number = tl.load(number_ptr)
    stop = tl.minimum(number * MULTIPLE, tl.maximum(tl.cdiv(KEYS, N), 1))
    key = (start + tl.arange(0, N))[None, :]
    away = 0
    for step in range(stop):
        acc, total, largest = _tile(
            q, k_ptr, v_ptr, key_end_ptr, key_position_ptr, acc, total, largest, row, key, start + away,
            SCALE, D, DP, N, CONTEXT, WINDOW, SOFTCAP, PRECISION, FULL,
        )  # fmt: skip
        further = _to_next(step, order_ptr, number, BLOCK, MULTIPLE, N)
        key = key + further
        away += further
    return acc, total, largest


@triton.jit
def flex_forward(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, key_end_ptr, key_position_ptr,
    partial_number_ptr, partial_order_ptr, full_number_ptr, full_order_ptr,
    ROWS: tl.constexpr, CONTEXT: tl.constexpr, HEADS: tl.constexpr, SHARED_BY: tl.constexpr,
    SCALE: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
    BLOCK: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    tile, head = tl.program_id(0), tl.program_id(2)
    KEYS: tl.constexpr = ROWS + CONTEXT
    q_ptr += head * ROWS * D
    k_ptr += head // SHARED_BY * KEYS * D
    v_ptr += head // SHARED_BY * KEYS * D
    largest = tl.zeros([M], dtype=tl.float32) - float("inf")
    total = tl.zeros([M], dtype=tl.float32)
    acc = tl.zeros([M, DP], dtype=tl.float32)
    row = tile * M + tl.arange(0, M)
    column = tl.arange(0, DP)
    place = row[:, None] * D + column[None, :]
    q = tl.load(q_ptr + place) if D == DP else tl.load(q_ptr + place, mask=column[None, :] < D, other=0.0)
    block_row = tile // (BLOCK // M)
    order = block_row * (KEYS // BLOCK)
    acc, total, largest = _blocks(
        q, k_ptr, v_ptr, key_end_ptr, key_position_ptr, acc, total, largest, row[:, None],
        partial_number_ptr + block_row, partial_order_ptr + order,
        SCALE, D, DP, N, CONTEXT, KEYS, BLOCK, WINDOW, SOFTCAP, PRECISION, False,
    )  # fmt: skip
    acc, total, largest = _blocks(
        q, k_ptr, v_ptr, key_end_ptr, key_position_ptr, acc, total, largest, row[:, None],
        full_number_ptr + block_row, full_order_ptr + order,
        SCALE, D, DP, N, CONTEXT, KEYS, BLOCK, WINDOW, SOFTCAP, PRECISION, True,
    )  # fmt: skip
    total = tl.where(total == 0.0, 1, total)
    acc = acc / total[:, None]
    out = out_ptr + head * D + row[:, None] * (HEADS * D) + column[None, :]
    tl.store(out, acc.to(q.dtype), mask=(row[:, None] < ROWS) & (column[None, :] < D))
    tl.store(lse_ptr + head * ROWS + row, largest + tl.math.log2(total))


def assemble(
    capability: int,
    dtype: str,
    head_size: int,
    tile: tuple[int, int],
    num_stages: int,
    num_warps: int,
    *,
    block: int = 64,
    window: int = 0,
    softcap: float = 0.0,
) -> triton.compiler.CompiledKernel:
    """Return the kernel as machine code for a card, which this machine need not have.

    Args:
        capability: compute capability in one number, such as 86.
        dtype: `float32`, `float16` or `bfloat16`.
        head_size: of queries, keys and values.
        tile: query rows and keys of a tile.
        num_stages: tiles in flight.
        num_warps: of a thread block.
        block: rows and keys of a block of the mask.
        window: positions a token looks back; 0 for all.
        softcap: of the scores; 0 for none.
    """
    pointers = {name: kind or POINTER_TYPES[dtype] for name, kind in POINTERS.items()}
    constants = {
        "ROWS": T,
        "CONTEXT": C,
        "HEADS": H,
        "SHARED_BY": G,
        "SCALE": head_size**-0.5,
        "D": head_size,
        "DP": max(16, triton.next_power_of_2(head_size)),
        "M": tile[0],
        "N": tile[1],
        "BLOCK": block,
        "WINDOW": window,
        "SOFTCAP": softcap,
        "PRECISION": "ieee" if dtype == "float32" else "tf32",
    }
    signature = pointers | dict.fromkeys(constants, "constexpr")
    names = list(signature)
    source = ASTSource(
        fn=flex_forward,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(number,): [["tt.divisibility", 16]] for number in range(len(pointers))},
    )
    return triton.compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": num_warps, "num_stages": num_stages},
    )
