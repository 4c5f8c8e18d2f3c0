"""Measure local workers: throughput of two, overhead on long shards, CPU seconds of a start.

    python benchmarks/workers.py [--checkpoints 4] [--limit 12] [--rounds 2] [--shard-s 60]

Checkpoints of the 15M shape with random weights and the GPT-2 tokenizer are written to a temporary folder and
scored on MMLU 0-shot in float32 by the command line, each worker with one thread. The plan is cached before.
Times are those between the first and the last record, so that imports do not count; the commands take turns.
On a busy machine wall time says little: beside it stand the CPU seconds of the process tree.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from common import GPT2, markdown, offline_hub, write_result
from random_series import make_series

LOOK_S = 0.1
TOKENS_PER_DOC = 190
"""Of HellaSwag, with its four endings; about."""
TRIED_TOKENS = 4096
"""Tokens of the shards that the speed is measured with, to choose long ones."""
TICKS = os.sysconf("SC_CLK_TCK")


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    with offline_hub(), tempfile.TemporaryDirectory(prefix="milepost-workers-") as folder:
        rows = measure(Path(folder), options)
    print("\n".join(markdown(rows)))
    settings = {"load average at the end": [round(load, 1) for load in os.getloadavg()]}
    print(write_result("workers", f"{options.shape}-x{options.checkpoints}", settings, rows))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="15M")
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--limit", type=int, default=12, help="docs per subject of MMLU")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--shard-tokens", type=int, default=4096, help="of the throughput's shards")
    parser.add_argument("--shard-s", type=float, default=60.0, help="seconds of the overhead's shards")
    parser.add_argument("--long-shards", type=int, default=3)
    return parser.parse_args(arguments)


def measure(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row per question."""
    from transformers import AutoTokenizer

    os.environ["MILEPOST_CACHE"] = str(folder / "cache")
    run = folder / "run"
    for checkpoint in make_series(run, options.shape, options.checkpoints, "float32", "cpu"):
        AutoTokenizer.from_pretrained(GPT2).save_pretrained(checkpoint)
    asked = [
        str(run),
        "-t",
        "mmlu",
        "-f",
        "0",
        "--dtype",
        "float32",
        "--device",
        "cpu",
        "--yes",
        "--scores-only",
    ]
    short = [*asked, "--limit", str(options.limit), "--shard-tokens", str(options.shard_tokens)]
    milepost([*short, "--steps", "1000:1000"], folder / "warm")  # makes the plan
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for number in range(options.rounds):
        for workers in (1, 2):
            found[workers].append(
                milepost([*short, "--workers", str(workers)], folder / f"{workers}-{number}")
            )
    one, two = (_medians(found[workers]) for workers in (1, 2))
    rows = [
        {
            "measured": "two workers against one",
            "one": f"{one['records/s']:.2f} shards/s",
            "two": f"{two['records/s']:.2f} shards/s",
            "ratio": two["records/s"] / one["records/s"],
            "CPU s": f"{one['CPU s']:.0f} and {two['CPU s']:.0f}",
        }
    ]
    rows.append(_overhead(folder, asked, options))
    rows.append(_start(folder, short))
    return rows


def _overhead(folder: Path, asked: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Compare a worker and a run without workers on a few long shards of one checkpoint."""
    one_checkpoint = [*asked, "--steps", "1000:1000"]
    one_checkpoint[one_checkpoint.index("mmlu")] = "hellaswag"  # each subject of MMLU is a shard of its own
    tried = ["--limit", str(8 * TRIED_TOKENS // TOKENS_PER_DOC), "--shard-tokens", str(TRIED_TOKENS)]
    pace = milepost([*one_checkpoint, *tried], folder / "pace")
    tokens = round(TRIED_TOKENS * options.shard_s / pace["each s"])
    docs = -(-(options.long_shards + 1) * tokens // TOKENS_PER_DOC)
    long = [*one_checkpoint, "--shard-tokens", str(tokens), "--limit", str(docs)]
    times = {}
    for name, more in (("this process", []), ("worker", ["--workers", "1"])):
        times[name] = milepost([*long, *more], folder / f"long-{name}")
    return {
        "measured": f"shards of {times['this process']['each s']:.0f} s: a worker against this process",
        "one": f"{times['this process']['each s']:.2f} s/shard",
        "two": f"{times['worker']['each s']:.2f} s/shard",
        "ratio": times["worker"]["each s"] / times["this process"]["each s"],
        "CPU s": f"{times['this process']['CPU s']:.0f} and {times['worker']['CPU s']:.0f}",
    }


def _start(folder: Path, short: list[str]) -> dict[str, Any]:
    """Return the CPU seconds of a worker from its fork to its first unit."""
    log = folder / "start.log"
    milepost([*short, "--steps", "1000:1000", "--workers", "2", "-v"], folder / "start", log)
    lines = [line for line in log.read_text().splitlines() if "joined after" in line]
    seconds = [float(line.rpartition("joined after ")[2].split()[0]) for line in lines]
    return {
        "measured": "CPU seconds of a worker before its first unit, beyond the shared imports",
        "one": f"{min(seconds):.2f} s",
        "two": f"{max(seconds):.2f} s",
        "ratio": None,
        "CPU s": f"{sum(seconds):.1f}",
    }


def milepost(arguments: list[str], out: Path, log: Path | None = None) -> dict[str, float]:
    """Run the command line; return its times from the records, and the CPU seconds of its process tree."""
    command = [sys.executable, "-m", "milepost", "run", *arguments, "-o", str(out)]
    log = log or out.with_suffix(".log")
    used: dict[int, float] = {}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for pid in _tree(process.pid):
                used[pid] = max(used.get(pid, 0.0), _cpu_s(pid))
            time.sleep(LOOK_S)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}\n{log.read_text()[-3000:]}")
    written = sorted(path.stat().st_mtime_ns / 1e9 for path in (out / "store" / "scores").rglob("*.parquet"))
    if len(written) < 2:
        raise SystemExit(f"{' '.join(command)} wrote {len(written)} records: ask for more")
    each_s = (written[-1] - written[0]) / max(1, len(written) - 1)
    return {"records/s": 1 / each_s if each_s else 0.0, "each s": each_s, "CPU s": sum(used.values())}


def _tree(root: int) -> set[int]:
    """Return a process and all below it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, added = {root}, {root}
    while added:
        added = {pid for pid, parent in parents.items() if parent in added} - found
        found |= added
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(row[name] for row in rows) for name in rows[0]}


if __name__ == "__main__":
    main()
