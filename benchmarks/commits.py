"""Compare the speed of another commit with this one: the same requests and weights, in turns.

    python benchmarks/commits.py --commit 3d9b9f7 [--tasks mmlu-5shot arc-easy] [--rounds 5]

Measures CPU seconds of one thread in separate processes. Each round runs both sides of each task in
alternating order; the ratio is of medians. A process scores once to warm up (plan, trial) and measures later
scores, as from the second checkpoint of a run on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import ROOT, SHAPES, cpu_seconds, markdown, offline_hub, one_thread, write_result
from questions import TASKS, real_questions

SLICES = {
    "mmlu-0shot": (2, 40),
    "mmlu-5shot": (2, 20),
    "hellaswag": (None, 40),
    "arc-easy": (None, 100),
    "piqa": (None, 80),
}
"""Subjects (None for all) and docs of each that are scored."""
REPEATS = 3
"""Of the timed scoring in each process, of which the fastest counts."""


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    if options.measure is not None:
        print(json.dumps(_measure(options)))
        return
    with tempfile.TemporaryDirectory(prefix="milepost-commits-") as temporary:
        folder = Path(temporary)
        with offline_hub():
            for task in options.tasks:
                subjects, docs = SLICES[task]
                questions = real_questions(TASKS[task]).first(subjects, docs).sequences
                np.savez(
                    folder / f"{task}.npz",
                    tokens=questions.tokens,
                    starts=questions.starts,
                    n_targets=questions.n_targets,
                )
        other = folder / "other"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", str(other), options.commit], check=True)
        try:
            table = [_row(task, folder, other, options) for task in options.tasks]
        finally:
            subprocess.run([*git, "remove", "--force", str(other)], check=True)
    print("\n".join(markdown(table)))
    if not options.dry:
        name = f"{options.shape}-{options.dtype}-against-{options.commit}"
        print(write_result("commits", name, {"rounds": options.rounds}, table))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commit", help="the other one")
    parser.add_argument("--tasks", nargs="+", choices=SLICES, default=["mmlu-5shot", "arc-easy", "hellaswag"])
    parser.add_argument("--shape", choices=SHAPES, default="15M")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="write no result file")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.commit is None and options.measure is None:
        parser.error("pass --commit")
    return options


def _row(task: str, folder: Path, other: Path, options: argparse.Namespace) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"other": [], "this": []}
    scores: dict[str, list[float]] = {}
    for number in range(options.rounds):
        sides = ["other", "this"] if number % 2 == 0 else ["this", "other"]
        for side in sides:
            found = _child(task, folder, other if side == "other" else ROOT, options)
            seconds[side].append(found["s"])
            scores[side] = found["loglikelihood"]
    apart = np.abs(np.array(scores["this"]) - np.array(scores["other"]))
    other_s, this_s = median(seconds["other"]), median(seconds["this"])
    return {
        "task": task,
        "shape": options.shape,
        "dtype": options.dtype,
        "requests": len(apart),
        f"{options.commit} s": other_s,
        "this s": this_s,
        "times as fast": other_s / this_s,
        "fastest times as fast": min(seconds["other"]) / min(seconds["this"]),
        "max difference": float(apart.max()),
        "all other s": seconds["other"],
        "all this s": seconds["this"],
    }


def _child(task: str, folder: Path, source: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", str(folder / f"{task}.npz")]
    command += ["--shape", options.shape, "--dtype", options.dtype]
    environment = {**os.environ, "PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if Path(found["from"]).resolve() != (source / "src" / "milepost").resolve():
        raise SystemExit(f"measured {found['from']} in place of {source}")
    return found


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    import milepost
    from milepost.engine import build_engine
    from milepost.types.sequences import Sequences

    one_thread()
    with np.load(options.measure) as saved:
        sequences = Sequences(**{name: saved[name] for name in ("tokens", "starts", "n_targets")})
    model = SHAPES[options.shape].build(options.dtype)
    engine = build_engine("auto", model, vocab_size=model.config.vocab_size, trial=sequences)
    engine.score(sequences)
    seconds, scores = min((cpu_seconds(lambda: engine.score(sequences)) for _ in range(REPEATS)), key=_first)
    assert milepost.__file__ is not None
    return {
        "s": seconds,
        "loglikelihood": scores.loglikelihood.tolist(),
        "engine": engine.name,
        "from": str(Path(milepost.__file__).parent),
    }


def _first(pair: tuple[float, Any]) -> float:
    return pair[0]


if __name__ == "__main__":
    main()
