"""Measure a whole training run on one GPU: every checkpoint is read and scored, as in `milepost run`.

    python benchmarks/saved_plans.py plans                            (where lm_eval and the data are)
    python benchmarks/gpu.py --plan plans/mmlu-0shot                  (on the GPU machine)
    python benchmarks/gpu.py --small                                  (anywhere: a check that it runs)

Checkpoints with random weights are written as safetensors first, to a RAM disk by default. What is measured
is a process of its own, `python -m milepost.run.score_plan`, from its start to its end: imports, plan,
reading and hashing weights, compiling, scoring, and the records in the store. Neither lm_eval nor the data
are needed.

Reported besides: seconds of each checkpoint from its own log, unique tokens per second, the share of this
card's matmul peak that the needed FLOPs are, and how far the stored scores are from those of padded
batches. A job that does not end within `--limit-s` is interrupted, and what it had finished is reported.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from common import ROOT, SHAPES, keep, matmul_peak
from random_series import make_series
from saved_plans import read_plan, save_made_up_plan

if TYPE_CHECKING:
    from milepost.plan.plan import Plan

COMPARED_REQUESTS = 64
GRACE_S = 20.0
"""Between the interrupt and the end: the shard under way is lost, the rest is on disk."""
LOGGED = {
    "scored_s": re.compile(r"shards scored in ([\d.]+) s"),
    "weights_s": re.compile(r"weights in place after ([\d.]+) s"),
}
ENGINE = re.compile(r"engine: (\S+)(?: \((.*)\))?$", re.MULTILINE)


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="milepost-gpu-", dir=options.place) as place:
        folder = Path(place)
        if options.small:
            options.plan = folder / "plan"
            save_made_up_plan(options.plan)
        row = measure(folder, options)
        keep("gpu", f"{options.shape}-{options.dtype}-{row['task']}", row, options)
        if row["checkpoints scored"]:
            row |= compare(folder, options)
            keep("gpu", f"{options.shape}-{options.dtype}-{row['task']}", row, options)
    if row["exit status"] != 0:
        raise SystemExit(f"the job ended with status {row['exit status']}: {row['said']}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", type=Path, help="folder written by saved_plans.py or --save-plan")
    parser.add_argument("--shape", choices=SHAPES, default="500M")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--checkpoints", type=int, default=27)
    parser.add_argument("--engine", choices=("auto", "packed", "padded"), default="auto")
    parser.add_argument("--batch-tokens", type=int, help="tokens in one forward pass; default: the engine's")
    parser.add_argument("--limit-s", type=float, default=600.0, help="interrupt the job after so long")
    parser.add_argument(
        "--series", type=Path, help="folder of the checkpoints, kept; default: a temporary one"
    )
    parser.add_argument("--place", type=Path, help="where temporary folders go; default: /dev/shm, else /tmp")
    parser.add_argument("--out", type=Path, help="append the row to results.jsonl in this folder")
    parser.add_argument("--small", action="store_true", help="tiny model, made-up requests, CPU")
    options = parser.parse_args(arguments)
    if options.small:
        options.shape, options.dtype, options.device = "tiny", "float32", "cpu"
        options.checkpoints = min(options.checkpoints, 3)
    elif options.plan is None:
        parser.error("pass --plan FOLDER (saved_plans.py writes it) or --small")
    if options.place is None and Path("/dev/shm").is_dir():
        options.place = Path("/dev/shm")
    return options


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write the checkpoints, score them in a separate process, and return the time that it took."""
    series = options.series or folder / "series"
    start = time.perf_counter()
    make_series(series, options.shape, options.checkpoints, options.dtype, options.device)
    written_s = time.perf_counter() - start
    done = _run_job(folder, series, options)
    plan, each = read_plan(options.plan), _logs(folder / "results")
    scored = [log["scored_s"] for log in each if log["scored_s"] is not None]
    shape, work = SHAPES[options.shape], _work(plan)
    peak = matmul_peak(
        options.dtype,
        options.device,
        size=256 if options.small else 8192,
        seconds=0.1 if options.small else 2,
    )
    flops = work["unique"] * shape.linear_flops + work["needed"] * shape.head_flops
    usual_s = median(scored[1:] or scored) if scored else None
    return {
        "task": options.plan.name,
        "shape": options.shape,
        "dtype": options.dtype,
        "device": options.device,
        "engine": each[0]["engine"] if each else None,
        "fallback": each[0].get("fallback") if each else None,
        "checkpoints": options.checkpoints,
        "checkpoints scored": len(scored),
        "whole job s": done["seconds"],
        "first checkpoint s": scored[0] if scored else None,
        "further checkpoint s": usual_s,
        "slowest further checkpoint s": max(scored[1:], default=None),
        "weights in place s": median([log["weights_s"] or 0.0 for log in each]) if each else None,
        "requests": plan.n_requests,
        "unique tokens": work["unique"],
        "unique tokens/s": usual_s and work["unique"] / usual_s,
        "matmul peak TFLOP/s": peak / 1e12,
        "share of peak": usual_s and flops / usual_s / peak,
        "share of peak, whole job": len(scored) * flops / done["seconds"] / peak,
        "checkpoints written s": written_s,
        "exit status": done["status"],
        "said": done["said"],
        "each checkpoint s": scored,
    }


def _run_job(folder: Path, series: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "milepost.run.score_plan", str(options.plan), str(series)]
    command += [str(folder / "results"), "--device", options.device, "--engine", options.engine, "-v"]
    if options.batch_tokens:
        command += ["--batch-tokens", str(options.batch_tokens)]
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "MILEPOST_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    start = time.perf_counter()
    with (folder / "said").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        status: int | str
        try:
            status = process.wait(options.limit_s)
        except subprocess.TimeoutExpired:
            status = f"interrupted after {options.limit_s:.0f} s"
            process.send_signal(signal.SIGINT)
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        seconds = time.perf_counter() - start
        said.seek(0)
        text = said.read()
    print(text, flush=True)
    return {"seconds": seconds, "status": status, "said": " | ".join(text.splitlines()[-3:])[-600:]}


def _logs(results: Path) -> list[dict[str, Any]]:
    """Return the logs of the checkpoints, in the order in which they were written."""
    found = []
    for path in sorted(results.rglob("evaluation.log"), key=lambda path: path.stat().st_mtime):
        text = path.read_text("utf-8")
        matches = {name: pattern.search(text) for name, pattern in LOGGED.items()}
        engine = ENGINE.search(text)
        found.append(
            {
                **{name: float(match[1]) if match else None for name, match in matches.items()},
                "engine": engine[1] if engine else None,
                "fallback": engine[2] if engine else None,
            }
        )
    return found


def _work(plan: Plan) -> dict[str, int]:
    """Return the unique tokens and needed rows of logits, counted task by task."""
    from milepost.plan.tree import build_tree

    trees = [build_tree(task.encoded.sequences) for task in plan.tasks]
    return {
        "unique": sum(len(tree) for tree in trees),
        "needed": sum(len(np.unique(tree.wanted_node)) for tree in trees),
    }


def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return how far the stored scores of the first requests are from those of padded batches, in nats."""
    from transformers import AutoModelForCausalLM

    from milepost.engine import build_engine
    from milepost.plan.sequences import take
    from milepost.run.device import resolve_device
    from milepost.sources import discover_all, identify
    from milepost.store import open_folder

    plan, results = read_plan(options.plan), open_folder(folder / "results")
    (series,) = discover_all((str(options.series or folder / "series"),))
    first = series.checkpoints[0]
    model_id = identify(first, folder / "cache").model_id
    task = plan.tasks[0]
    shard = task.shards[0]
    (path,) = (results.path / "store" / "scores").glob(f"{model_id}/*/{shard.shard_id}.parquet")
    stored, _ = results.read_scores(path)
    sequences = task.sequences_of(shard)
    sequences = take(sequences, np.arange(min(COMPARED_REQUESTS, len(sequences))))
    device = resolve_device(options.device)
    module = AutoModelForCausalLM.from_pretrained(first.location, dtype="auto").to(device).eval()
    engine = build_engine("padded", module, vocab_size=module.config.vocab_size)
    apart = np.abs(engine.score(sequences).loglikelihood - stored[: len(sequences)])
    return {"compared requests": len(sequences), "largest difference from padded": float(apart.max())}


if __name__ == "__main__":
    main()
