"""Profile the engine on a GPU: share of peak, launches, copies, waits, the longest kernels.

    python benchmarks/gpu_profile.py --plan plans/mmlu-0shot --docs 40
    python benchmarks/gpu_profile.py --small

Scores a slice of a plan three times after the first: plainly, for its time; with CUDA's own warnings of
synchronising calls, by the line that waits; and under torch.profiler.
"""

from __future__ import annotations

import argparse
import collections
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import SHAPES, keep, matmul_peak
from on_device import parsed, parser_of, questions_of, timed
from questions import Work

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cuLaunchKernelEx", "cudaLaunchKernelExC")
LONGEST = 12


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--plan", type=Path, help="folder written by saved_plans.py or --save-plan")
    parser.add_argument("--docs", type=int, default=40, help="first docs of each task")
    parser.add_argument("--engine", choices=("auto", "packed", "padded"), default="auto")
    options = parsed(parser, arguments)
    from milepost.engine import build_engine

    sequences = questions_of(options).first(None, options.docs).sequences
    model = SHAPES[options.shape].build(options.dtype, options.device)
    engine = build_engine(options.engine, model, vocab_size=model.config.vocab_size, trial=sequences)

    def score() -> None:
        engine.score(sequences)

    first_s = timed(options.device, score)
    seconds = timed(options.device, score)
    peak = matmul_peak(
        options.dtype,
        options.device,
        size=256 if options.small else 8192,
        seconds=0.1 if options.small else 2,
    )
    work = Work.of(sequences)
    row = {
        "shape": options.shape,
        "dtype": options.dtype,
        "device": options.device,
        "engine": engine.name,
        "fallback": engine.fallback,
        "unique tokens": work.unique,
        "first s (compiling)": first_s,
        "s": seconds,
        "matmul peak TFLOP/s": peak / 1e12,
        "share of peak": work.least_flops(SHAPES[options.shape]) / seconds / peak,
        **_memory(options.device),
    }
    name = f"{options.shape}-{options.dtype}-{'small' if options.small else options.plan.name}"
    keep("gpu_profile", name, row, options)
    row |= _waits(options.device, score)
    row |= _profiled(options, score)
    keep("gpu_profile", name, row, options)


def _memory(device: str) -> dict[str, Any]:
    import torch

    if torch.device(device).type != "cuda":
        return {}
    return {"most memory GB": torch.cuda.max_memory_allocated(device) / 1e9}


def _waits(device: str, score: Callable[[], None]) -> dict[str, Any]:
    """Return the calls that make the host wait, by file and line; empty on a CPU."""
    import torch

    if torch.device(device).type != "cuda":
        return {"waits": 0, "where": []}
    where: collections.Counter[str] = collections.Counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            score()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for one in caught:
        if "synchroniz" in str(one.message):
            where[f"{Path(one.filename).name}:{one.lineno}"] += 1
    return {"waits": sum(where.values()), "where": [list(found) for found in where.most_common(LONGEST)]}


def _profiled(options: argparse.Namespace, score: Callable[[], None]) -> dict[str, Any]:
    from torch.profiler import ProfilerActivity, profile

    on_gpu = options.device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        timed(options.device, score)
    averages = profiler.key_averages()

    def count(names: tuple[str, ...]) -> int:
        return sum(event.count for event in averages if event.key in names)

    def own_s(event: Any) -> float:
        return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6

    ranked = sorted(averages, key=own_s, reverse=True)
    copies = tuple(event.key for event in averages if event.key.startswith("Memcpy"))
    longest = [[event.key[:80], event.count, round(own_s(event), 4)] for event in ranked[:LONGEST]]
    print("\n".join(f"{seconds:10.4f} s {times:8} x {key}" for key, times, seconds in longest))
    return {
        "launches": count(LAUNCHES),
        "host waits": count(WAITS),
        "copies": count(copies) if on_gpu else count(("aten::copy_",)),
        "busy s": sum(own_s(event) for event in averages),
        "longest": longest,
    }


if __name__ == "__main__":
    main()
