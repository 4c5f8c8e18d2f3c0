"""Compare our engine with lm_eval's HFLM at its fastest batch size, on a slice of a plan, on one GPU.

    python benchmarks/gpu_ratio.py --plan plans/mmlu-5shot --docs 10
    python benchmarks/gpu_ratio.py --small

The slice is the first docs of each task. Ours is measured and stored first: if lm_eval is not
installed or runs out of memory, the row says so instead of a ratio.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from common import SHAPES, keep
from on_device import parsed, parser_of, questions_of, timed
from questions import Questions, Work

BATCH_SIZES = (8, 32, 128)
ROUNDS = 3


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--plan", type=Path, help="folder written by saved_plans.py or --save-plan")
    parser.add_argument("--docs", type=int, default=10, help="first docs of each task")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES, help="of lm_eval")
    parser.add_argument("--engine", choices=("auto", "packed", "padded"), default="auto")
    options = parsed(parser, arguments)
    if options.small:
        options.batch_sizes = (4, 8)
    questions = questions_of(options).first(None, options.docs)
    model = SHAPES[options.shape].build(options.dtype, options.device)
    name = f"{options.shape}-{options.dtype}-{'small' if options.small else options.plan.name}"
    row, ours = _ours(model, questions, options)
    keep("gpu_ratio", name, row, options)
    row |= _theirs(model, questions, ours, row["our s"], options)
    keep("gpu_ratio", name, row, options)


def _ours(model: Any, questions: Questions, options: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    from milepost.engine import build_engine

    sequences, device = questions.sequences, options.device
    engine = build_engine(options.engine, model, vocab_size=model.config.vocab_size, trial=sequences)
    first_s = timed(device, lambda: engine.score(sequences))
    each_s = [timed(device, lambda: engine.score(sequences)) for _ in range(ROUNDS)]
    row = {
        "shape": options.shape,
        "dtype": options.dtype,
        "device": device,
        "engine": engine.name,
        "fallback": engine.fallback,
        "requests": len(sequences),
        "unique tokens": Work.of(sequences).unique,
        "our first s (compiling)": first_s,
        "our s": min(each_s),
    }
    return row, engine.score(sequences)


def _theirs(
    model: Any, questions: Questions, ours: Any, our_s: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Return lm_eval's time at its fastest batch size, and how far its scores are from ours."""
    import torch

    try:
        from harness import Harness, agreement

        harness = Harness(model)
    except ImportError as error:
        return {"lm_eval": f"is not installed here ({error})"}
    sequences, device = questions.sequences, options.device
    their_s: dict[int, float] = {}
    for size in options.batch_sizes:
        try:
            timed(device, partial(harness.score, questions.first(1, 2).sequences, size))
            their_s[size] = timed(device, partial(harness.score, sequences, size))
        except torch.OutOfMemoryError:
            break
    if not their_s:
        return {"lm_eval": "runs out of memory at every batch size"}
    best = min(their_s, key=their_s.__getitem__)
    apart = agreement(questions, harness.score(sequences, best), ours)
    return {
        "lm_eval batch": best,
        "lm_eval s": their_s[best],
        "ratio": their_s[best] / our_s,
        "by batch": [[size, seconds] for size, seconds in their_s.items()],
        **apart,
    }


if __name__ == "__main__":
    main()
