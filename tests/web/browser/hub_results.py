"""Results of real models on real data: a training run and a pruned model, in a folder each."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from milepost.demo.pruning import prune_copy
from tests.cli.called import milepost

STEPS = (400, 1600)
TEXT = "The cat sat on the mat, and the dog ran after it.\n\n" * 40


class HubResults(NamedTuple):
    """Two results folders, and what `milepost compare --json` says of their last checkpoints."""

    run: Path
    """`english-4m` at two steps, on choices, texts, continuations and perplexities."""
    pruned: Path
    """Its last checkpoint with half of the weights at zero."""
    compared: str


def hub_results(shared: Path, folder: Path) -> HubResults:
    """Make the results by a process of its own: beside the browser of the tests, torch is far slower."""
    subprocess.run(
        [sys.executable, "-m", __name__, str(shared), str(folder)], check=True, capture_output=True
    )
    return HubResults(folder / "results", folder / "pruned", (folder / "compared.json").read_text())


def make(shared: Path, folder: Path) -> None:
    """Score two checkpoints of the hub's `tiny/english-4m` and a pruned copy of the last one."""
    models = shared / "hub" / "models" / "tiny" / "english-4m"
    for step in STEPS:
        shutil.copytree(models / f"step-{step}", folder / "english-4m" / f"step-{step}")
    last = folder / "english-4m" / f"step-{STEPS[-1]}"
    pruned = folder / "english-4m-pruned"
    prune_copy(last, pruned)
    (folder / "text.txt").write_text(TEXT)
    run, other = folder / "results", folder / "pruned"
    both = "arc_easy,lambada_openai"
    _run("run", folder / "english-4m", "-t", both, "-L", 16, "-o", run)
    _run("run", folder / "english-4m", "-t", "gsm8k,squadv2", "-L", 1, "--steps", STEPS[-1], "-o", run)
    _run("run", pruned, "-t", both, "-L", 16, "-o", other)
    _run("ppl", last, "--text", folder / "text.txt", "--seqlen", 128, "--no-explain", "-o", run)
    compared = _run(
        "compare", f"{run}@step-{STEPS[-1]}", f"{other}@{pruned.name}", "-o", folder / "compared", "--json"
    )
    (folder / "compared.json").write_text(compared)


def _run(*arguments: object) -> str:
    called = milepost(*arguments, *(["--yes"] if arguments[0] == "ppl" else []))
    assert called.status == 0, called.err
    return called.out


if __name__ == "__main__":
    make(*map(Path, sys.argv[1:]))
