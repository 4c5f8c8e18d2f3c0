"""A whole training run on one GPU: 27 sets of weights through full MMLU, swapped in place in one module.

    python benchmarks/counts.py --tasks mmlu-0shot --save requests        (where the data is)
    python benchmarks/gpu.py --requests requests                          (on the GPU machine)
    python benchmarks/gpu.py --small                                      (anywhere: a check that it runs)

Random weights of the 500M shape in bf16 wait in host memory, as a reader thread would leave them; each set is
copied in place and scores every request. Reported: seconds in all (compilation apart), unique tokens per
second, the share of this process's own matmul peak that the needed FLOPs are, and lm_eval's HFLM at its
fastest batch size on a slice, in the same process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import SHAPES, markdown, matmul_peak, write_result
from harness import Harness, agreement
from questions import TASKS, Questions, Work, real_questions

if TYPE_CHECKING:
    import torch

DIFFERENT_SETS = 3
"""Sets of weights that are really different; they take turns, to spare host memory."""


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    row = measure(options)
    print("\n".join(markdown([{"": key, "value": value} for key, value in row.items()])))
    if not options.small:
        print(write_result("gpu", f"{options.shape}-{options.dtype}-{options.task}", {}, [row]))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="500M")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sets", type=int, default=27, help="sets of weights")
    parser.add_argument("--task", choices=TASKS, default="mmlu-0shot")
    parser.add_argument("--requests", type=Path, help="folder written by counts.py --save")
    parser.add_argument("--docs", type=int, help="first docs of each subject; default: all")
    parser.add_argument("--slice-docs", type=int, default=10, help="first docs of each subject for lm_eval")
    parser.add_argument("--budget", type=int, help="tokens in one forward pass; default: the engine's")
    parser.add_argument("--engine", choices=("auto", "packed", "padded"), default="packed")
    parser.add_argument("--small", action="store_true", help="tiny model, made-up requests, CPU")
    options = parser.parse_args(arguments)
    if options.small:
        options.shape, options.dtype, options.device, options.sets = "tiny", "float32", "cpu", 3
        options.slice_docs = 2
    elif options.requests is None:
        parser.error("pass --requests FOLDER (counts.py --save writes it) or --small")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Score every set of weights and tell how long it took."""
    from milepost.engine import build_engine

    shape, device = SHAPES[options.shape], options.device
    whole = _made_up() if options.small else real_questions(TASKS[options.task], options.requests)
    questions = whole.first(None, options.docs)
    work = Work.of(questions.sequences)
    peak = matmul_peak(
        options.dtype, device, size=256 if options.small else 8192, seconds=0.2 if options.small else 2
    )
    model = shape.build(options.dtype, device)
    sets = _sets_in_host_memory(model, min(options.sets, DIFFERENT_SETS))
    engine = build_engine(
        options.engine, model, vocab_size=model.config.vocab_size, budget_tokens=options.budget
    )
    first_s = _timed(device, lambda: engine.score(questions.sequences))
    each_s = []
    for number in range(options.sets):
        copy_s = _timed(device, lambda: _copy_in_place(model, sets[number % len(sets)]))  # noqa: B023
        each_s.append(copy_s + _timed(device, lambda: engine.score(questions.sequences)))
    total_s = sum(each_s)
    part = whole.first(None, options.slice_docs)
    return {
        "gpu": device,
        "shape": options.shape,
        "dtype": options.dtype,
        "engine": engine.name,
        "task": options.task,
        "sets of weights": options.sets,
        "requests": len(questions.sequences),
        "unique tokens": work.unique,
        "first pass s (planning, compiling)": first_s,
        "all sets s": total_s,
        "slowest set s": max(each_s),
        "fastest set s": min(each_s),
        "unique tokens/s": options.sets * work.unique / total_s,
        "matmul peak TFLOP/s": peak / 1e12,
        "share of peak": options.sets * work.least_flops(shape) / total_s / peak,
        **_against_harness(model, engine, part, device),
    }


def _against_harness(model: Any, engine: Any, part: Questions, device: str) -> dict[str, Any]:
    """Both on the same slice; lm_eval's best batch size is the fastest of some on the slice itself."""
    sequences = part.sequences
    harness = Harness(model)
    sizes = (8, 32, 128) if device.startswith("cuda") else (4, 16)
    their_s = {size: _timed(device, lambda: harness.score(sequences, size)) for size in sizes}  # noqa: B023
    best = min(their_s, key=their_s.__getitem__)
    engine.score(sequences)
    our_s = _timed(device, lambda: engine.score(sequences))
    apart = agreement(part, harness.score(sequences, best), engine.score(sequences))
    return {
        "slice requests": len(sequences),
        "slice lm_eval s": their_s[best],
        "slice lm_eval batch": best,
        "slice ours s": our_s,
        "slice ratio": their_s[best] / our_s,
        **{f"slice {key}": value for key, value in apart.items()},
    }


def _timed(device: str, function: Callable[[], Any]) -> float:
    """Wall seconds until the device is done."""
    import torch

    start = time.perf_counter()
    function()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _sets_in_host_memory(model: Any, n: int) -> list[list[torch.Tensor]]:
    import torch

    sets = []
    for seed in range(n):
        generator = torch.Generator().manual_seed(seed)
        tensors = []
        for parameter in model.parameters():
            tensor = torch.empty(parameter.shape, dtype=parameter.dtype).normal_(0, 0.02, generator=generator)
            if parameter.dim() == 1:
                tensor += 1
            tensors.append(tensor.pin_memory() if parameter.is_cuda else tensor)
        sets.append(tensors)
    return sets


def _copy_in_place(model: Any, tensors: list[torch.Tensor]) -> None:
    import torch

    with torch.no_grad():
        for parameter, tensor in zip(model.parameters(), tensors, strict=True):
            parameter.copy_(tensor, non_blocking=True)


def _made_up() -> Questions:
    """Two subjects of a few docs with a shared beginning, so that the script can run without any data."""
    import numpy as np

    from milepost.types import Sequences

    rng = np.random.default_rng(0)
    rows, task_of, doc_of = [], [], []
    for subject in range(2):
        beginning = rng.integers(0, 50_000, 20).tolist()
        for doc in range(4):
            question = rng.integers(0, 50_000, 15).tolist()
            for choice in range(4):
                rows.append(beginning + question + [subject, choice])
                task_of.append(subject)
                doc_of.append(doc)
    sequences = Sequences(
        tokens=np.array(rows, np.int32).ravel(),
        starts=np.arange(len(rows) + 1, dtype=np.int64) * len(rows[0]),
        n_targets=np.full(len(rows), 1, np.int32),
    )
    return Questions(sequences, np.array(task_of, np.int32), np.array(doc_of, np.int64))


if __name__ == "__main__":
    main()
