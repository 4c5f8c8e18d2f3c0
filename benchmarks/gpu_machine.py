"""Record the machine before measurements: card, versions, the doctor's findings, and its peak speeds.

    python benchmarks/gpu_machine.py
    python benchmarks/gpu_machine.py --small

Peak speeds of a square matrix product, of the products of the shape's layers, of a copy on the device, and of
copies from pageable and pinned host memory.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial
from typing import Any

from common import SHAPES, keep, matmul_peak
from on_device import median_ms, parsed, parser_of

ROWS = 16_384
COPIED_BYTES = 2**30


def main(arguments: list[str] | None = None) -> None:
    options = parsed(parser_of(__doc__), arguments)
    keep("gpu_machine", "doctor", doctor(), options)
    keep("gpu_machine", "ceilings", ceilings(options), options)


def doctor() -> dict[str, Any]:
    """Return the doctor's findings about device and kernels as one row."""
    from milepost.doctor.gpu import check_gpu
    from milepost.doctor.machine import check_device, check_python, check_torch

    findings = [check_python(), check_torch(), *check_device(), *check_gpu()]
    return {
        finding.check: f"{finding.status}: {finding.found}"
        + (f" ({finding.advice})" if finding.advice else "")
        for finding in findings
    } | {"findings": [asdict(finding) for finding in findings]}


def ceilings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the device's peak TFLOP/s and GB/s as one row."""
    import torch

    device, dtype, shape = options.device, getattr(torch, options.dtype), SHAPES[options.shape]
    on_gpu = torch.device(device).type == "cuda"
    rows = ROWS if on_gpu else 256
    n_bytes = COPIED_BYTES if on_gpu else 2**20
    peak = matmul_peak(options.dtype, device, size=8192 if on_gpu else 256, seconds=2 if on_gpu else 0.1)
    found: dict[str, Any] = {"device": device, "dtype": options.dtype, "matmul peak TFLOP/s": peak / 1e12}
    widths = {
        "query": (shape.hidden, shape.hidden),
        "key": (shape.hidden, shape.hidden * shape.kv_heads // shape.heads),
        "gate": (shape.hidden, shape.intermediate),
        "down": (shape.intermediate, shape.hidden),
    }
    for name, (n_in, n_out) in widths.items():
        x = torch.randn(rows, n_in, device=device, dtype=dtype)
        w = torch.randn(n_out, n_in, device=device, dtype=dtype)
        ms = median_ms(device, partial(torch.nn.functional.linear, x, w))
        found[f"{name} {n_in}x{n_out} TFLOP/s"] = 2 * rows * n_in * n_out / ms / 1e9
    here = torch.empty(n_bytes, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    found["copy GB/s"] = 2 * n_bytes / median_ms(device, lambda: there.copy_(here)) / 1e6
    if on_gpu:
        pageable = torch.empty(n_bytes, dtype=torch.uint8)
        pinned = pageable.pin_memory()
        found["from pageable memory GB/s"] = n_bytes / median_ms(device, lambda: here.copy_(pageable)) / 1e6
        found["from pinned memory GB/s"] = (
            n_bytes / median_ms(device, lambda: here.copy_(pinned, non_blocking=True)) / 1e6
        )
    return found


if __name__ == "__main__":
    main()
