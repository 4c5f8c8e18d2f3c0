"""Compare the time left that a run shows with the time that it then takes.

    python benchmarks/estimates.py [--jobs mmlu-5shot mixed texts] [--checkpoints 4]

Checkpoints are revisions of the offline hub's `tiny/english-4m`. Each job is a command line in a process of
its own; its worker file, which `milepost status` reads, is looked at four times a second. A ratio is the
estimated time of the whole run (passed and left) over its real time, at the first estimate, after the first
shard, and when a quarter, half and three quarters of the time have passed. `quick` is the estimate of
`--quick` for the full job over the time that the full job, started anew, takes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from common import markdown, offline_hub, write_result

STEPS = (25, 100, 400, 800, 1200, 1600)
SOURCE = "hf://tiny/english-4m@step-*"
LOOK_S = 0.25
UNITS = {"s": 1, "min": 60, "h": 3600}


class Job(NamedTuple):
    """Tasks of a run, and the options that make it short."""

    tasks: str
    options: tuple[str, ...] = ()


JOBS = {
    "mmlu-5shot": Job("mmlu_anatomy,mmlu_virology,mmlu_astronomy", ("-f", "5")),
    "mixed": Job("openbookqa,rte,mmlu_anatomy"),
    "texts": Job("gsm8k,openbookqa", ("-L", "24", "--gen-kwargs", "max_gen_toks=48")),
}


class Look(NamedTuple):
    """The state of a run at a moment."""

    passed_s: float
    left_s: float
    n_shards: int


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--checkpoints", type=int, default=4, choices=range(1, len(STEPS) + 1))
    parser.add_argument("--shard-tokens", type=int, default=32_768)
    options = parser.parse_args(arguments)
    with offline_hub(), tempfile.TemporaryDirectory(prefix="milepost-estimates-") as folder:
        rows = [measure(name, Path(folder) / name, options) for name in options.jobs]
    print("\n".join(markdown(rows)))
    print(write_result("estimates", f"english-4m-x{options.checkpoints}", {}, rows))


def measure(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run a job with its quick test before it; return estimates over the real time."""
    folder.mkdir(parents=True)
    last = f":{STEPS[options.checkpoints - 1]}:"
    job = JOBS[name]
    command = [
        sys.executable,
        "-m",
        "milepost",
        "run",
        SOURCE,
        "--steps",
        last,
        "-t",
        job.tasks,
        *job.options,
    ]
    command += ["--shard-tokens", str(options.shard_tokens)]
    quick_s = None
    if "-L" not in job.options:
        said = _run([*command, "--quick", "-o", str(folder / "quick")], folder / "cache-quick")
        quick_s = _seconds(said)
    looks, real_s = _watch([*command, "-o", str(folder / "full")], folder / "full", folder / "cache")
    after_first = next(look for look in looks if look.n_shards >= 1)
    return {
        "job": name,
        "checkpoints": options.checkpoints,
        "real s": real_s,
        "first estimate": _ratio(looks[0], real_s),
        "after 1 shard": _ratio(after_first, real_s),
        **{
            f"at {share:.0%}": _ratio(next(one for one in looks if one.passed_s >= share * real_s), real_s)
            for share in (0.25, 0.5, 0.75)
            if looks[-1].passed_s >= share * real_s
        },
        "quick": None if quick_s is None else quick_s / real_s,
    }


def _ratio(look: Look, real_s: float) -> float:
    return (look.passed_s + look.left_s) / real_s


def _environment(cache: Path) -> dict[str, str]:
    return os.environ | {"MILEPOST_CACHE": str(cache), "OMP_NUM_THREADS": "1", "MILEPOST_LANG": "en"}


def _run(command: list[str], cache: Path) -> str:
    done = subprocess.run(command, env=_environment(cache), capture_output=True, text=True, check=True)
    return done.stderr


def _watch(command: list[str], results: Path, cache: Path) -> tuple[list[Look], float]:
    """Run a job; return what its worker file said, and how long it took."""
    began = time.monotonic()
    looks = []
    with (cache.parent / "said").open("wb") as said:
        process = subprocess.Popen(command, env=_environment(cache), stdout=said, stderr=said)
        while process.poll() is None:
            time.sleep(LOOK_S)
            left_s = _left_s(results)
            if left_s is not None:
                n_shards = len(list((results / "store").glob("scores/**/*.parquet")))
                looks.append(Look(time.monotonic() - began, left_s, n_shards))
    assert process.returncode == 0, (cache.parent / "said").read_text()
    return looks, time.monotonic() - began


def _left_s(results: Path) -> float | None:
    for path in (results / "store" / "workers").glob("*.json"):
        try:
            record = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # it is just being written, or removed
        if "left_s" in record:
            left_s: float = record["left_s"] - (time.time() - record["left_at"])
            return max(0.0, left_s)
    return None


def _seconds(said: str) -> float:
    """Return the time of the full job that a quick test says."""
    found = re.search(r"full job.*about ([\d.]+) (s|min|h)", said)
    assert found is not None, said
    return float(found[1]) * UNITS[found[2]]


if __name__ == "__main__":
    main()
