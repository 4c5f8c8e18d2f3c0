"""`python -m milepost.doctor.attention_trial cuda:0`: compile and run a small attention on a device.

A process of its own: a kernel that fails can leave a CUDA device unusable for the process it ran in. Prints
one JSON object: seconds, the largest difference from plain attention, and the tile that was taken.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from milepost.engine.kernel_options import BLOCK, Card, fitting_options, reason_without_kernel

HEADS, TOKENS, HEAD_SIZE = 4, 256, 64


def try_attention(device: torch.device) -> dict[str, float | str]:
    """Compare compiled FlexAttention with plain attention on random values.

    Raises:
        RuntimeError: no kernel fits the device, or whatever compiling or running it raises.
    """
    dtype, options = _kernel(device)
    generator = torch.Generator().manual_seed(0)
    shape = (3, 1, HEADS, TOKENS, HEAD_SIZE)
    query, key, value = torch.randn(shape, generator=generator).to(device, dtype).unbind(0)
    mask = create_block_mask(
        lambda _b, _h, q, k: k <= q, None, None, TOKENS, TOKENS, device=str(device), BLOCK_SIZE=BLOCK
    )
    compiled = torch.compile(flex_attention, dynamic=False)
    start = time.perf_counter()
    with torch.inference_mode():
        found = compiled(query, key, value, block_mask=mask, kernel_options=options)
        plain = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        off = (found.float() - plain.float()).abs().max().item()
    tile = "x".join(str(options[name]) for name in ("BLOCK_M", "BLOCK_N")) if options else "none"
    return {"seconds": time.perf_counter() - start, "off": off, "tile": tile}


def _kernel(device: torch.device) -> tuple[torch.dtype, Any]:
    """Return the dtype to try, half precision on a GPU, and the first tile that fits."""
    if device.type != "cuda":
        return torch.float32, None
    card = Card.of(device)
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    fitting = fitting_options(HEAD_SIZE, dtype, card)
    if not fitting:
        raise RuntimeError(reason_without_kernel(HEAD_SIZE, dtype, card) or "no kernel fits this card")
    return dtype, fitting[0].for_flex()


if __name__ == "__main__":
    print(json.dumps(try_attention(torch.device(sys.argv[1]))))
