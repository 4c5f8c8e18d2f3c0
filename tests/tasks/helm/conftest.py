"""HELM's scenario files from the shared folder, two checkpoints of a real run, and HELM's run over them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ENTRIES = (
    "mmlu:subject=anatomy",
    "mmlu:subject=astronomy",
    "mmlu:subject=virology",
    "boolq",
    "narrative_qa",
    "commonsense:dataset=hellaswag,method=multiple_choice_separate_original",
    "commonsense:dataset=hellaswag,method=multiple_choice_separate_calibrated",
    "twitter_aae:demographic=aa",
    "boolq:data_augmentation=contrast_sets",
    "mmlu:subject=anatomy,data_augmentation=misspelling_mild",
)
"""Every way of asking that runs offline, a perturbation and contrast sets among them."""
LONG_ENTRY = "wikitext_103"
"""Articles of several windows each; HELM takes seconds for one."""
STEPS = ("step-400", "step-1600")
N_INSTANCES = 40
N_ARTICLES = 3


@pytest.fixture(scope="session")
def helm_data(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HELM's output folder with the data of the scenarios in it."""
    folder = tmp_path_factory.mktemp("helm-data")
    prepare = [sys.executable, str(shared / "helm" / "prepare.py"), str(folder)]
    subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
    import pandas

    table = next((shared / "hub" / "datasets" / "Salesforce" / "wikitext").rglob("test-*.parquet"))
    lines = [text or " \n" for text in pandas.read_parquet(table)["text"]]
    articles = folder / "scenarios" / "wikitext_103" / "data"
    articles.mkdir(parents=True)
    (articles / "wiki.test.raw").write_text("".join(lines))
    tweets = folder / "scenarios" / "twitter_aae"
    tweets.mkdir(parents=True)
    with open(tweets / "aa_tweets.csv", "w", newline="") as file:
        csv.writer(file).writerows([line.strip()[:140]] for line in lines if len(line) > 200)
    return folder


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


@pytest.fixture(scope="session")
def reference(
    helm_data: Path,
    run_folder: Path,
    helm_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The `runs` of HELM's own run, with its Hugging Face client, over the same entries and checkpoints."""
    out = tmp_path_factory.mktemp("helm-run")
    shutil.copytree(helm_data / "scenarios", out / "scenarios")
    for entries, n in ((ENTRIES, N_INSTANCES), ((LONG_ENTRY,), N_ARTICLES)):
        descriptions = [
            f"{entry}{',' if ':' in entry else ':'}model=huggingface/{step}"
            for step in STEPS
            for entry in entries
        ]
        conf = out / "entries.conf"
        lines = "".join(f'{{description: "{text}", priority: 1}}\n' for text in descriptions)
        conf.write_text(f"entries: [\n{lines}]\n")
        command = [str(Path(sys.executable).with_name("helm-run")), "-o", str(out), "--conf-paths", str(conf)]
        command += ["--enable-local-huggingface-models", *(str(run_folder / step) for step in STEPS)]
        command += [
            "--max-eval-instances",
            str(n),
            "--suite",
            "s",
            "-n",
            "1",
            "--local-path",
            str(out / "env"),
        ]
        done = subprocess.run(command, env=helm_environment, cwd=out, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    return out / "runs" / "s"


def read(folder: Path, name: str) -> Any:
    """Return one of a run's files."""
    return json.loads((folder / f"{name}.json").read_text())
