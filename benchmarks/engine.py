"""Compare our engine with lm_eval's `HFLM` on the same token requests: one process, one thread, in turns.

    python benchmarks/engine.py --shape 135M --tasks mmlu-5shot arc-easy [--dtype bfloat16] [--ablation]

Both score a slice of whole docs of real tasks with a Llama of random weights: lm_eval, ours, lm_eval, ours.
lm_eval runs at the batch size that is fastest on a sample of the slice; of several rounds the fastest
counts, for both. Beside the ratio of CPU seconds stand the ratio of FLOPs that the slice allows (every
distinct input with logits everywhere, over every distinct prefix with the logits needed; without attention,
and with it), the share of this process's own matmul peak, and how far the scores are apart. Where two
requests with one input are scored at different places, lm_eval 0.4.13 scores one of them at the wrong one;
such requests are left out of the comparison and counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import (
    SHAPES,
    Shape,
    cpu_seconds,
    markdown,
    matmul_peak,
    offline_hub,
    one_thread,
    peak_memory,
    write_result,
)
from harness import Harness, agreement, errors, longest
from questions import TASKS, Questions, Work, real_questions

if TYPE_CHECKING:
    import torch

SLICES: dict[tuple[str, str], tuple[int | None, int | None]] = {
    ("15M", "mmlu-0shot"): (3, None),
    ("15M", "mmlu-5shot"): (1, None),
    ("15M", "hellaswag"): (None, 150),
    ("15M", "arc-easy"): (None, 300),
    ("15M", "piqa"): (None, 300),
    ("135M", "mmlu-0shot"): (2, 50),
    ("135M", "mmlu-5shot"): (1, 50),
    ("135M", "hellaswag"): (None, 50),
    ("135M", "arc-easy"): (None, 100),
    ("135M", "piqa"): (None, 100),
}
"""(subjects, docs of each) that score for a minute or so; None for all."""
TRIAL_SEQUENCES = 2
"""Scored before anything is timed: the engine tries itself on a model once, whatever it is asked later."""


@dataclass(slots=True)
class Meter:
    """Tokens and FLOPs that a module ran while it was watched."""

    tokens: int = 0
    linear_flops: int = 0
    linear_s: float = 0.0
    _started: float = field(default=0.0, repr=False)


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    with nullcontext() if options.requests else offline_hub():
        one_thread()
        tables = [measure(name, options) for name in options.tasks]
    table = [row for rows in tables for row in rows]
    print("\n".join(markdown(table)))
    name = "-".join(
        [options.shape, options.dtype, *(["ablation"] if options.ablation else []), *options.tasks]
    )
    print(write_result("engine", name, {"rounds": options.rounds}, table))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="15M")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--subjects", type=int, help="first subjects of MMLU; default: by shape and task")
    parser.add_argument("--docs", type=int, help="first docs of each; default: by shape and task")
    parser.add_argument("--rounds", type=int, default=2, help="how often each side is measured")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--engine", choices=("auto", "packed", "padded", "reference"), default="packed")
    parser.add_argument("--batch-size", type=int, help="lm_eval's; default: the fastest on a sample")
    parser.add_argument("--ablation", action="store_true", help="ours only, with one switch off at a time")
    parser.add_argument("--requests", type=Path, help="folder of plans written by saved_plans.py")
    return parser.parse_args(arguments)


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of one task."""
    shape = SHAPES[options.shape]
    subjects, docs = SLICES.get((options.shape, name), (1, 20))
    if options.subjects or options.docs:
        subjects, docs = options.subjects, options.docs
    questions = real_questions(TASKS[name], options.requests).first(subjects, docs)
    model = shape.build(options.dtype)
    if options.ablation:
        return _ablation(name, questions, model, shape, options)
    return [_comparison(name, questions, model, shape, options)]


def _comparison(
    name: str, questions: Questions, model: Any, shape: Shape, options: argparse.Namespace
) -> dict[str, Any]:
    from milepost.engine import build_engine

    sequences = questions.sequences
    work = Work.of(sequences)
    engine = build_engine(options.engine, model, vocab_size=model.config.vocab_size)
    harness = Harness(model)
    batch_size = options.batch_size or harness.fastest_batch_size(sequences)
    trial_s, _ = cpu_seconds(partial(engine.score, longest(sequences, TRIAL_SEQUENCES)))
    theirs, ours = [], []
    their_s, our_s, peaks = [], [], []
    with watched(model) as meter:
        for _ in range(options.rounds):
            peaks.append(matmul_peak(options.dtype))
            with peak_memory() as their_memory:
                seconds, scores = cpu_seconds(partial(harness.score, sequences, batch_size))
            their_s.append(seconds)
            theirs.append(scores)
            their_meter, meter.tokens = meter.tokens, 0
            meter.linear_s, meter.linear_flops = 0.0, 0
            with peak_memory() as our_memory:
                seconds, scores = cpu_seconds(partial(engine.score, sequences))
            our_s.append(seconds)
            ours.append(scores)
            our_meter, meter.tokens = meter.tokens, 0
    peak, ratio = max(peaks), min(their_s) / min(our_s)
    linear_share = meter.linear_flops / meter.linear_s / peak if meter.linear_s else None
    return {
        "task": name,
        "shape": options.shape,
        "dtype": options.dtype,
        "engine": engine.name,
        "requests": len(sequences),
        "grouped": work.grouped,
        "unique": work.unique,
        "lm_eval tokens": their_meter,
        "our tokens": our_meter,
        "lm_eval batch": batch_size,
        "lm_eval s": min(their_s),
        "our s": min(our_s),
        "ratio": ratio,
        "FLOP ratio": work.flop_ratio(shape),
        "of FLOP ratio": ratio / work.flop_ratio(shape),
        "FLOP ratio with attention": work.flop_ratio_with_attention(shape),
        "peak GFLOP/s": peak / 1e9,
        "share of peak": work.least_flops(shape) / min(our_s) / peak,
        "linear layers' share": linear_share,
        "our trial s": trial_s,
        "lm_eval MiB": their_memory.mib,
        "our MiB": our_memory.mib,
        **agreement(questions, theirs[0], ours[0]),
        **errors(model, sequences, theirs[0], ours[0]),
        "all lm_eval s": their_s,
        "all our s": our_s,
    }


def _ablation(
    name: str, questions: Questions, model: Any, shape: Shape, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return a row with all optimizations on, then a row per optimization that is off, measured in turns."""
    from milepost.engine.optimizations import SCORING, Optimizations
    from milepost.engine.packed import PackedEngine

    all_on = Optimizations()
    variants = {"all on": all_on}
    for switch in SCORING:
        variants[f"without {switch}"] = replace(all_on, **{switch: False})
    vocab_size = model.config.vocab_size
    seconds: dict[str, list[float]] = {label: [] for label in variants}
    for _ in range(options.rounds):
        for label, optimizations in variants.items():
            engine = PackedEngine(model, vocab_size=vocab_size, optimizations=optimizations)
            engine.score(longest(questions.sequences, TRIAL_SEQUENCES))
            seconds[label].append(cpu_seconds(partial(engine.score, questions.sequences))[0])
    base = min(seconds["all on"])
    return [
        {
            "task": name,
            "shape": options.shape,
            "dtype": options.dtype,
            "variant": label,
            "CPU s": min(times),
            "times as long": min(times) / base,
        }
        for label, times in seconds.items()
    ]


@contextmanager
def watched(model: Any) -> Iterator[Meter]:
    """Count the tokens that enter the model, and time its layers' matrices."""
    import torch

    meter = Meter()

    def count(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        meter.tokens += inputs[0].numel()

    def start(*_: Any) -> None:
        meter._started = time.process_time()

    def stop(module: torch.nn.Linear, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        meter.linear_s += time.process_time() - meter._started
        meter.linear_flops += 2 * module.in_features * output.numel()

    hooks = [model.get_input_embeddings().register_forward_pre_hook(count)]
    for module in model.model.layers.modules():
        if isinstance(module, torch.nn.Linear):
            hooks += [module.register_forward_pre_hook(start), module.register_forward_hook(stop)]
    try:
        yield meter
    finally:
        for hook in hooks:
            hook.remove()


if __name__ == "__main__":
    main()
