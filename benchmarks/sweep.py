"""Compare a loop of `lm_eval run` over a training run's checkpoints with one `milepost run`, both cold.

    python benchmarks/sweep.py [--checkpoints 4] [--tasks mmlu_abstract_algebra mmlu_anatomy] [-f 5]

Checkpoints of the 15M shape with random weights and the GPT-2 tokenizer are written to a temporary folder.
Both sides are real command lines in processes of their own, with empty caches, float32, one thread; CPU
seconds are those of their process trees. They take turns: lm_eval on one checkpoint, Milepost on one,
Milepost on all, and so on until lm_eval has had every checkpoint; medians count, so that a busy minute of
the machine weighs on both alike. The loop of lm_eval takes its median for each checkpoint. What one more
checkpoint costs Milepost is the difference between its runs over all and over one, spread over the others.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from common import GPT2, SHAPES, markdown, offline_hub, write_result

SHORTEST_STEP = 100


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    with offline_hub(), tempfile.TemporaryDirectory(prefix="milepost-sweep-") as folder:
        row = measure(Path(folder), options)
    print("\n".join(markdown([row])))
    print(write_result("sweep", f"{options.shape}-x{options.checkpoints}", {}, [row]))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="15M")
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--tasks", nargs="+", default=["mmlu_abstract_algebra", "mmlu_anatomy"])
    parser.add_argument("-f", "--num-fewshot", type=int, default=5)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--batch-size", type=int, default=4, help="lm_eval's; engine.py finds the best")
    options = parser.parse_args(arguments)
    if options.checkpoints < 2:
        parser.error("--checkpoints must be 2 or more: a sweep is about the next one")
    return options


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run both sides and compare their accuracies."""
    run = _write_checkpoints(folder / "run", options)
    each_lm_eval_s, each_one_s, each_all_s = [], [], []
    theirs: dict[str, dict[str, float]] = {}
    ours: dict[str, dict[str, float]] = {}
    for number, checkpoint in enumerate(run):
        turn = folder / f"turn-{number}"
        # The loop's data are cold for its first process only.
        environment = _cold(folder / "lm_eval_cache")
        each_lm_eval_s.append(_lm_eval(checkpoint, turn / "lm_eval", environment, options))
        theirs[checkpoint.name] = _lm_eval_accuracies(turn / "lm_eval" / checkpoint.name)
        each_one_s.append(_milepost(run[:1], turn / "one", _cold(turn / "one_cache"), options)[0])
        seconds, ours = _milepost(run, turn / "all", _cold(turn / "all_cache"), options)
        each_all_s.append(seconds)
    their_one_s, one_s, all_s = map(median, (each_lm_eval_s, each_one_s, each_all_s))
    marginal_s = (all_s - one_s) / (len(run) - 1)
    return {
        "shape": options.shape,
        "checkpoints": len(run),
        "tasks": " ".join(options.tasks),
        "few-shot": options.num_fewshot,
        "lm_eval s": len(run) * their_one_s,
        "milepost s": all_s,
        "ratio": len(run) * their_one_s / all_s,
        "lm_eval, one more s": their_one_s,
        "milepost, one more s": marginal_s,
        "ratio of one more": their_one_s / marginal_s,
        "milepost, one alone s": one_s,
        "same accuracies": ours == theirs,
        "each lm_eval s": each_lm_eval_s,
        "each milepost s": each_all_s,
        "each alone s": each_one_s,
    }


def _write_checkpoints(folder: Path, options: argparse.Namespace) -> list[Path]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(GPT2)
    checkpoints = []
    for number in range(1, options.checkpoints + 1):
        path = folder / f"checkpoint-{number * SHORTEST_STEP}"
        SHAPES[options.shape].build(seed=number).save_pretrained(path)
        tokenizer.save_pretrained(path)
        checkpoints.append(path)
    return checkpoints


def _cold(cache: Path) -> dict[str, str]:
    """Return an environment with caches in `cache` and one thread."""
    return {
        **os.environ,
        "HF_HOME": str(cache / "huggingface"),
        "MILEPOST_CACHE": str(cache / "milepost"),
        "XDG_CACHE_HOME": str(cache / "xdg"),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def _children_s(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Return the CPU seconds of a command and all its children, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def _lm_eval(checkpoint: Path, out: Path, environment: dict[str, str], options: argparse.Namespace) -> float:
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu"]
    command += ["--model_args", f"pretrained={checkpoint},dtype=float32", "--tasks", ",".join(options.tasks)]
    command += ["--num_fewshot", str(options.num_fewshot), "--batch_size", str(options.batch_size)]
    command += ["--output_path", str(out / checkpoint.name)]
    if options.limit:
        command += ["--limit", str(options.limit)]
    return _children_s(command, environment)[0]


def _milepost(
    checkpoints: list[Path], out: Path, environment: dict[str, str], options: argparse.Namespace
) -> tuple[float, dict[str, dict[str, float]]]:
    command = [sys.executable, "-m", "milepost", "run", str(checkpoints[0].parent), "--device", "cpu"]
    command += ["--steps", f":{SHORTEST_STEP * len(checkpoints)}", "--dtype", "float32", "--json"]
    command += ["--tasks", ",".join(options.tasks), "--num-fewshot", str(options.num_fewshot)]
    command += ["--output-path", str(out)]
    if options.limit:
        command += ["--limit", str(options.limit)]
    seconds, printed = _children_s(command, environment)
    accuracies: dict[str, dict[str, float]] = {}
    for row in json.loads(printed):
        if row["metric"] == "acc" and row["task"] in options.tasks:
            accuracies.setdefault(row["checkpoint"], {})[row["task"]] = row["value"]
    return seconds, accuracies


def _lm_eval_accuracies(out: Path) -> dict[str, float]:
    (path,) = out.rglob("results_*.json")
    results = json.loads(path.read_text("utf-8"))["results"]
    return {task: figures["acc,none"] for task, figures in results.items()}


if __name__ == "__main__":
    main()
