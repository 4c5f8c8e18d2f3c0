"""Measure FlexAttention with all tile sizes that fit a card, and with torch's own, on a mask like a pack's.

    python benchmarks/gpu_kernels.py --heads 64 128
    python benchmarks/gpu_kernels.py --small

Random keys and values with the mask of a forest: documents of `--segment` tokens that each see themselves and
a shared prefix. A row per head size and tile size: milliseconds per layer, and computed products per product
that the mask needs. The order of `milepost.engine.kernel_options` can be checked with it.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from common import keep
from on_device import median_ms, parsed, parser_of

MASK_BLOCKS = (64, 128)


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--heads", type=int, nargs="+", default=(64, 128), help="head sizes")
    parser.add_argument("--query-heads", type=int, default=16)
    parser.add_argument("--key-heads", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=32_768, help="of a pack")
    parser.add_argument("--segment", type=int, default=128, help="tokens of a document")
    options = parsed(parser, arguments)
    if options.small:
        options.heads, options.tokens, options.query_heads, options.key_heads = (16,), 256, 2, 1
    for head in options.heads:
        for mask_block in MASK_BLOCKS[:1] if options.small else MASK_BLOCKS:
            for row in measure(head, mask_block, options):
                keep("gpu_kernels", f"head {head}, mask {mask_block}, tile {row['tile']}", row, options)


def measure(head: int, mask_block: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row per tile size."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    from milepost.engine.kernel_options import Card, fitting_options

    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    on_gpu = device.type == "cuda"
    card = Card.of(device) if on_gpu else Card.named((8, 6))
    T, segment = options.tokens, options.segment

    def visible(_b: Any, _h: Any, q: Any, k: Any) -> Any:
        return (k <= q) & ((k // segment == q // segment) | (k < segment))

    mask = create_block_mask(visible, None, None, T, T, device=str(device), BLOCK_SIZE=mask_block)
    query = torch.randn(1, options.query_heads, T, head, device=device, dtype=dtype)
    key, value = (torch.randn(1, options.key_heads, T, head, device=device, dtype=dtype) for _ in "kv")
    computed = float(mask.kv_num_blocks.sum() + (mask.full_kv_num_blocks.sum())) * mask_block**2
    wanted = sum(min(n, segment) for n in range(1, segment + 1)) * (T // segment) + segment * (T - segment)
    rows, tiles = [], [None, *fitting_options(head, dtype, card)]
    for tile in tiles[:2] if options.small else tiles:
        row = {
            "device": options.device,
            "dtype": options.dtype,
            "head": head,
            "tokens": T,
            "mask block": mask_block,
            "tile": "torch's own" if tile is None else f"{tile.rows}x{tile.keys}",
            "stages": None if tile is None else tile.stages,
            "warps": None if tile is None else tile.warps,
            "computed for each wanted": computed / wanted,
        }
        torch.compiler.reset()
        given = None if tile is None else tile.for_flex()
        run = torch.compile(flex_attention, dynamic=False, backend="inductor" if on_gpu else "eager")
        arguments = {"block_mask": mask, "enable_gqa": True, "kernel_options": given}
        try:
            with torch.inference_mode():
                row["ms"] = median_ms(
                    options.device,
                    partial(run, query, key, value, **arguments),
                    repeats=10 if on_gpu else 1,
                    warm=3 if on_gpu else 0,
                )
        except Exception as error:  # a tile that does not compile is a finding, too
            row["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[-200:]}"
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
