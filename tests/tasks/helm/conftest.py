"""HELM's scenario files from the shared folder, two checkpoints of a real run, and HELM's run over them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import milepost

from . import made_data

MMLU = "mmlu:subject=anatomy"
SEPARATE = "commonsense:dataset=hellaswag,method=multiple_choice_separate_original"
ENTRIES = (
    MMLU,
    "mmlu:subject=astronomy",
    "mmlu:subject=virology",
    "boolq",
    "narrative_qa",
    SEPARATE,
    "commonsense:dataset=hellaswag,method=multiple_choice_separate_calibrated",
    "twitter_aae:demographic=aa",
)
"""Every way of asking that runs offline."""
FEW_ENTRIES = (
    "boolq:data_augmentation=contrast_sets",
    "mmlu:subject=anatomy,data_augmentation=misspelling_mild",
    "boolq:max_train_instances=1,num_train_trials=2,num_outputs=2,temperature=0.00001",
    "narrative_qa:max_train_instances=1,stop=hash",
)
"""What changes requests: contrast sets, a perturbation, trials, several answers that are drawn (so sharply
that every draw is the likeliest token), a stop of several tokens."""
PERTURBED_ENTRIES = ("narrative_qa:max_train_instances=1,data_augmentation=canonical",)
"""Robustness and fairness as HELM's leaderboards have them, where each perturbation finds words to change."""
SLOW_ENTRIES = (
    "wikitext_103",
    "msmarco:track=regular,valid_topk=11",
    "msmarco:track=trec,valid_topk=11",
    "spider:num_output_tokens=8",
)
"""Many requests for an instance, which takes HELM seconds each: the windows of an article, the passages of a
query. And answers that an annotator runs on a database."""
STEPS = ("step-400", "step-1600")
N_INSTANCES = 40
N_FEW = 8
N_SLOW = 2
N_PERTURBED = 4
PARTS = {
    "most": (ENTRIES, N_INSTANCES),
    "changed": (FEW_ENTRIES, N_FEW),
    "perturbed": (PERTURBED_ENTRIES, N_PERTURBED),
    "slow": (SLOW_ENTRIES, N_SLOW),
}
"""Entries that one run asks, and the instances of each."""


@pytest.fixture(scope="session")
def helm_data(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HELM's output folder with the data of the scenarios in it."""
    folder = tmp_path_factory.mktemp("helm-data")
    prepare = [sys.executable, str(shared / "helm" / "prepare.py"), str(folder)]
    subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
    wikitext = next((shared / "hub" / "datasets" / "Salesforce" / "wikitext").rglob("test-*.parquet"))
    made_data.write_made_data(folder / "scenarios", wikitext)
    return folder


@pytest.fixture(scope="session")
def helm_data_hash(helm_data: Path) -> str:
    """A hash of the data as they were made: what runs put beside them comes later."""
    return _hash(*sorted(path for path in helm_data.rglob("*") if path.is_file()))


@pytest.fixture(scope="session")
def run_folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints of a real run that HELM loads in float32."""
    folder = tmp_path_factory.mktemp("english")
    for step in STEPS:
        shutil.copytree(shared / "hub" / "models" / "tiny" / "english-4m" / step, folder / step)
        config = folder / step / "config.json"
        config.chmod(0o644)
        config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "float32"}))
    return folder


@pytest.fixture(scope="session")
def helm_environment(shared: Path) -> dict[str, str]:
    """Variables of a process that runs HELM offline."""
    nltk = str(shared / "helm" / "nltk_data")
    os.environ["NLTK_DATA"] = nltk
    return {**os.environ, "HF_HUB_OFFLINE": "1", "NLTK_DATA": nltk, "TQDM_DISABLE": "1"}


@pytest.fixture(scope="session", params=PARTS)
def part(request: pytest.FixtureRequest) -> str:
    """One of `PARTS`."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def reference(
    part: str,
    helm_data_hash: str,
    helm_data: Path,
    run_folder: Path,
    helm_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The `runs` of HELM's own run, with its Hugging Face client, over the same entries and checkpoints.

    It takes minutes and is the same each time, so it is kept in the environment that `make test-helm` makes
    for these versions, under a hash of what it depends on.
    """
    entries, n = PARTS[part]
    name = _hash(*sorted(run_folder.rglob("*.*")), asked=(helm_data_hash, entries, n))
    kept = Path(sys.prefix) / "helm-reference" / name
    if not kept.is_dir():
        # Its usual name: HELM writes it into what it says of perturbations.
        out = tmp_path_factory.mktemp("helm-run") / "benchmark_output"
        shutil.copytree(helm_data, out)
        _helm_run(out, entries, n, run_folder, helm_environment)
        kept.parent.mkdir(exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=kept.parent))
        shutil.copytree(out / "runs" / "s", unfinished / "runs")
        (unfinished / "runs").rename(kept)
        unfinished.rmdir()
    return kept


def _hash(*files: Path, asked: object = "") -> str:
    digest = hashlib.sha256(repr(asked).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _helm_run(
    out: Path, entries: Sequence[str], n: int, run_folder: Path, environment: dict[str, str]
) -> None:
    descriptions = [
        f"{entry}{',' if ':' in entry else ':'}model=huggingface/{step}"
        for step in STEPS
        for entry in entries
    ]
    conf = out / "entries.conf"
    lines = "".join(f'{{description: "{text}", priority: 1}}\n' for text in descriptions)
    conf.write_text(f"entries: [\n{lines}]\n")
    command = [
        str(Path(sys.executable).with_name("helm-run")), "-o", out.name, "--conf-paths", str(conf),
        "--enable-local-huggingface-models", *(str(run_folder / step) for step in STEPS),
        "--max-eval-instances", str(n), "--suite", "s", "-n", "1", "--local-path", str(out / "env"),
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, cwd=out.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def read(folder: Path, name: str) -> Any:
    """Return one of a run's files."""
    return json.loads((folder / f"{name}.json").read_text())


def run(
    source: Path, out: Path, data: Path, helm: str | list[str] = MMLU, **options: Any
) -> milepost.Results:
    """Evaluate entries with few instances."""
    options = {"max_eval_instances": 6, **options}
    return milepost.evaluate(source, helm=helm, helm_data=data, output_path=out, **options)
