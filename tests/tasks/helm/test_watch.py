"""The story of docs/helm.md on a real Megatron-LM run: watch, record in trackio, rank beside others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

from tests.faults.slow_copy import SLOW_COPY

HELM = "mmlu:subject=anatomy"


def test_a_megatron_run_is_watched_with_helms_entries_and_lm_evals_tasks_up_to_a_leaderboard(
    hub: str,
    shared: Path,
    words: Path,
    helm_data: Path,
    helm_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    run, results = tmp_path / "run", tmp_path / "results"
    source = shared / "checkpoints" / "megatron" / "gpt2_legacy_tp2"
    writer = subprocess.Popen([sys.executable, "-c", SLOW_COPY, str(source), str(run)])
    environment = {key: value for key, value in helm_environment.items() if key != "HF_HUB_OFFLINE"}

    def milepost(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "milepost", *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    said = milepost(
        "watch", run, "-t", "boolq", "-L", "4", "--helm", HELM, "--helm-data", helm_data,
        "--tokenizer", words,
        "--until", "60", "--settle", "1s", "--every", "1s", "--record", "trackio",
        "--record-project", tmp_path.name, "-o", results,
    )  # fmt: skip
    writer.wait()
    assert "trackio: recording to" in said
    assert len(list((results / "store" / "recorded").glob("trackio/*.json"))) == 1
    published = tmp_path / "published.yaml"
    published.write_text(f'Published-135M:\n  boolq: 0.61\n  "{HELM}": {{exact_match: 0.31}}\n')
    board = json.loads(milepost("leaderboard", results, "--baselines", published, "--json").strip())
    scores = {model["name"]: model["scores"] for model in board["models"]}
    assert scores.keys() == {"run", "Published-135M"}
    assert len(scores["run"]) == len(scores["Published-135M"]) == 2
    assert any(name.startswith(HELM) for name in scores["run"])
