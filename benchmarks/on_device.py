"""Shared parts of the GPU scripts: options, requests of a saved plan, and timing on a device."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import SHAPES
from questions import Questions
from saved_plans import read_plan, save_made_up_plan


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of all GPU scripts."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="500M")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, help="append rows to results.jsonl in this folder")
    parser.add_argument("--small", action="store_true", help="tiny model, made-up requests, CPU")
    return parser


def parsed(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Return the options; `--small` sets shape, dtype and device."""
    options = parser.parse_args(arguments)
    if options.small:
        options.shape, options.dtype, options.device = "tiny", "float32", "cpu"
    elif getattr(options, "plan", options) is None:
        parser.error("pass --plan FOLDER (saved_plans.py writes it) or --small")
    return options


def questions_of(options: argparse.Namespace) -> Questions:
    """Return the requests of `--plan`, or synthetic ones."""
    if not options.small:
        return Questions.of_plan(read_plan(options.plan))
    with tempfile.TemporaryDirectory(prefix="milepost-plan-") as folder:
        save_made_up_plan(Path(folder, "plan"))
        return Questions.of_plan(read_plan(Path(folder, "plan")))


def timed(device: str, function: Callable[[], Any]) -> float:
    """Return the wall seconds until the device is done."""
    import torch

    start = time.perf_counter()
    function()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def median_ms(device: str, function: Callable[[], Any], *, repeats: int = 10, warm: int = 3) -> float:
    """Return the median milliseconds of one call, by CUDA events on a GPU."""
    import numpy as np
    import torch

    for _ in range(warm):
        function()
    if torch.device(device).type != "cuda":
        return float(np.median([timed(device, function) * 1e3 for _ in range(repeats)]))
    found = []
    with torch.cuda.device(device):
        for _ in range(repeats):
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            function()
            last.record()
            last.synchronize()
            found.append(first.elapsed_time(last))
    return float(np.median(found))
