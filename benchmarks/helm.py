"""Compare `helm-run` on one checkpoint with `milepost run --helm` on the same entries, both cold.

    python benchmarks/helm.py [--instances 100] [--checkpoints 2] [--as-it-is]

For an environment with HELM (`make test-helm` makes one, see the Makefile). Entries: five subjects of MMLU
with five examples, and NarrativeQA; `--instances` of each. Checkpoints: revisions of the offline hub's
`tiny/english-4m`, in float32 and with one thread on both sides, so that the statistics are the same and no
thread waits for another. With `--as-it-is` nothing is set, as users run both: the dtype of the checkpoint's
config (bfloat16) and torch's own number of threads, which is that of the cores (`taskset -c 0` allows one,
so that no thread waits for another on a busy machine). Both sides are commands in processes of their own,
with empty caches; CPU seconds are those of their process trees. The cost of one more checkpoint is the
difference between Milepost's runs over all and over one, spread over the others.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import SHARED, markdown, write_result

SUBJECTS = ("anatomy", "astronomy", "clinical_knowledge", "prehistory", "virology")
ENTRIES = (*(f"mmlu:subject={subject}" for subject in SUBJECTS), "narrative_qa")
STEPS = ("step-400", "step-800", "step-1200", "step-1600")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=100, help="of each entry")
    parser.add_argument("--checkpoints", type=int, default=2, choices=range(2, len(STEPS) + 1))
    parser.add_argument("--as-it-is", action="store_true", help="set neither dtype nor threads")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="milepost-helm-") as folder:
        row = measure(Path(folder), options)
    print("\n".join(markdown([row])))
    how = "-as-it-is" if options.as_it_is else ""
    cores = f"-{row['cores allowed']}-cores"
    print(write_result("helm", f"mmlu-narrative-qa-x{options.instances}{how}{cores}", {}, [row]))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run both sides and compare their statistics."""
    steps = STEPS[: options.checkpoints]
    data = folder / "data"
    prepare = [sys.executable, str(SHARED / "helm" / "prepare.py"), str(data)]
    subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
    for step in STEPS:
        source = SHARED / "hub" / "models" / "tiny" / "english-4m" / step
        shutil.copytree(source, folder / "run" / step)
        if not options.as_it_is:
            _set_float32(folder / "run" / step / "config.json")
    their_s, theirs = _helm_run(folder / "run" / steps[0], data, folder / "theirs", options)
    one_s = _milepost(folder, steps[:1], data, folder / "one", options)
    all_s = _milepost(folder, steps, data, folder / "all", options)
    more_s = (all_s - one_s) / (len(steps) - 1)
    ours = _exported(folder / "one", folder, options)
    return {
        "instances": options.instances * len(ENTRIES),
        "cores allowed": len(os.sched_getaffinity(0)),
        "helm-run s": their_s,
        "milepost s": one_s,
        "ratio": their_s / one_s,
        "one more checkpoint s": more_s,
        "ratio of one more": their_s / more_s,
        "checkpoints": len(steps),
        "same statistics": ours == theirs,
        "entries": list(ENTRIES),
    }


def _set_float32(config: Path) -> None:
    config.chmod(0o644)
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "float32"}))


def _environment(cache: Path, options: argparse.Namespace) -> dict[str, str]:
    """Return an environment that is offline, with caches in `cache`, and with one thread unless as it is."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    others = {name: value for name, value in os.environ.items() if name not in threads}
    return {
        **others,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(cache / "huggingface"),
        "MILEPOST_CACHE": str(cache / "milepost"),
        "NLTK_DATA": str(SHARED / "helm" / "nltk_data"),
        **({} if options.as_it_is else dict.fromkeys(threads, "1")),
    }


def _children_s(command: list[str], environment: dict[str, str], place: Path) -> float:
    """Return the CPU seconds of a command and all its children."""
    place.mkdir(parents=True, exist_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _helm_run(
    model: Path, data: Path, out: Path, options: argparse.Namespace
) -> tuple[float, dict[str, dict[str, float]]]:
    shutil.copytree(data / "scenarios", out / "scenarios")
    named = [f"{entry}{',' if ':' in entry else ':'}model=huggingface/{model.name}" for entry in ENTRIES]
    command = [str(Path(sys.executable).with_name("helm-run")), "-o", str(out), "--run-entries", *named]
    command += ["--enable-local-huggingface-models", str(model), "--suite", "s", "-n", "1"]
    command += ["--max-eval-instances", str(options.instances), "--disable-cache"]
    seconds = _children_s(command, _environment(out / "cache", options), out)
    return seconds, _statistics(out / "runs" / "s")


def _milepost(
    folder: Path, steps: tuple[str, ...], data: Path, out: Path, options: argparse.Namespace
) -> float:
    command = [sys.executable, "-m", "milepost", "run", str(folder / "run"), "--device", "cpu"]
    command += ["--steps", f"{steps[0].split('-')[1]}:{steps[-1].split('-')[1]}", "-o", str(out)]
    command += ["--max-eval-instances", str(options.instances), "--helm-data", str(data)]
    command += [word for entry in ENTRIES for word in ("--helm", entry)]
    return _children_s(command, _environment(out.with_name(f"{out.name}-cache"), options), out)


def _exported(results: Path, folder: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    out = folder / "exported"
    command = [sys.executable, "-m", "milepost", "export", str(results), "--format", "helm", "-o", str(out)]
    _children_s(command, _environment(folder / "one-cache", options), folder)
    return _statistics(out / "runs" / "milepost")


def _statistics(runs: Path) -> dict[str, dict[str, float]]:
    """Return the means of each run that do not depend on the clock, to six digits."""
    found = {}
    for path in sorted(runs.glob("*/stats.json")):
        name = path.parent.name.rpartition("model=")[0]
        found[name] = {
            json.dumps(stat["name"], sort_keys=True): round(stat["mean"], 6)
            for stat in json.loads(path.read_text())
            if stat.get("mean") is not None
            and stat["name"]["name"] not in ("inference_runtime", "batch_size")
        }
    return found


if __name__ == "__main__":
    main()
