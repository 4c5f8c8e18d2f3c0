"""What is run in ten minutes on a GPU machine, at a small size on a CPU, so that it works on the day."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SESSION = BENCHMARKS / "gpu_session.sh"
STEPS = (
    "machine", "tests", "mmlu-0shot", "mmlu-5shot", "ratio", "sizes", "hellaswag", "generation", "profile",
    "kernels",
)  # fmt: skip

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a script at its small size in this process; returns the rows that it kept."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(script: str, *arguments: str) -> list[dict[str, Any]]:
        importlib.import_module(script).main(["--small", "--out", str(tmp_path), *arguments])
        return rows_in(tmp_path)

    return run


def rows_in(out: Path) -> list[dict[str, Any]]:
    kept = [json.loads(line) for line in (out / "results.jsonl").read_text("utf-8").splitlines()]
    assert all(one["date"] and one["versions"]["torch"] and "gpu" in one["machine"] for one in kept)
    return [one["row"] for one in kept]


def test_the_machine_is_described_with_its_ceilings(small: Run) -> None:
    doctor, ceilings = small("gpu_machine")
    assert doctor["python"].startswith("ok: ")
    assert {"torch", "device", "gpu"} <= set(doctor)
    assert ceilings["copy GB/s"] > 0
    assert ceilings["query 32x32 TFLOP/s"] > 0


def test_a_whole_job_is_run_from_disk_through_the_store_without_lm_eval(small: Run) -> None:
    before, after = small("gpu")
    assert before.items() <= after.items(), "what was measured is kept before it is compared"
    assert (after["checkpoints scored"], after["exit status"]) == (3, 0), after["said"]
    assert (after["engine"], after["fallback"]) == ("packed", None)
    assert after["unique tokens"] == 160
    assert len(after["each checkpoint s"]) == 3
    assert after["whole job s"] > sum(after["each checkpoint s"])
    assert after["compared requests"] == 16
    assert after["largest difference from padded"] < 1e-4


def test_a_job_that_takes_too_long_is_interrupted_and_its_part_is_kept(small: Run) -> None:
    with pytest.raises(SystemExit, match="interrupted after 0 s"):
        small("gpu", "--limit-s", "0.2")


def test_the_ratio_has_both_sides_and_how_far_they_are_apart(small: Run) -> None:
    ours, both = small("gpu_ratio")
    assert "ratio" not in ours
    assert ours["our s"] > 0
    assert both["ratio"] > 0
    assert both["max difference"] < 1e-4
    assert both["other picks"] == 0


def test_without_lm_eval_what_was_measured_of_ours_is_kept(
    small: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.models.huggingface", None)
    row = small("gpu_ratio")[-1]
    assert row["our s"] > 0
    assert "is not installed here" in row["lm_eval"]


def test_every_way_of_writing_texts_has_a_row_with_the_same_texts(small: Run) -> None:
    rows = small("gpu_generate")
    assert [row["way"] for row in rows] == ["auto", "auto-no-graphs", "generate"]
    assert [row.get("failed") for row in rows] == [None, None, None]
    assert [row["same texts as the first"] for row in rows] == [3, 3, 3]
    assert rows[0]["by"] == rows[1]["by"] == "batched"


def test_a_way_that_fails_costs_its_own_row_only(small: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: out of\nluck")

    monkeypatch.setattr(importlib.import_module("gpu_generate"), "_ours", fail)
    ours, _, plain = small("gpu_generate")
    assert ours["failed"] == "RuntimeError: CUDA error: out of luck"
    assert plain["new tokens/s"] > 0


def test_the_profile_counts_launches_copies_and_waits(small: Run) -> None:
    plain, whole = small("gpu_profile")
    assert plain["s"] > 0
    assert plain["unique tokens"] == 160
    assert {"launches", "host waits", "waits", "where", "busy s"} <= set(whole)
    assert whole["copies"] > 0
    assert len(whole["longest"]) == 12


def test_tiles_of_the_attention_kernel_are_timed_beside_torchs_own(small: Run) -> None:
    rows = small("gpu_kernels")
    assert [row["tile"] for row in rows] == ["torch's own", "32x32"]
    assert [row.get("failed") for row in rows] == [None, None]
    assert all(row["ms"] > 0 for row in rows)


def test_synchronising_names_the_device_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    waited: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    importlib.import_module("on_device").timed("cuda:1", lambda: None)
    assert waited == ["cuda:1"]


# ---- the shell script, with a Python that only notes how it was called ------------------------------------


@pytest.fixture
def session(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the script; its Python fails at scripts named in $FAILS and waits at those named in $HANGS."""
    python = tmp_path / "python"
    python.write_text(
        """#!/bin/bash
        echo "called $*"
        for word in $HANGS; do case "$*" in *$word*) exec sleep 60;; esac; done
        for word in $FAILS; do case "$*" in *$word*) echo "no $word here"; exit 3;; esac; done
        """
    )
    python.chmod(0o755)
    plans = tmp_path / "plans"
    plans.mkdir()

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SESSION), *arguments],
            env={**os.environ, "OUT": str(tmp_path / "out"), "PYTHON": str(python), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def steps_in(folder: Path) -> dict[str, tuple[str, str]]:
    lines = (folder / "out" / "steps.tsv").read_text("utf-8").splitlines()[1:]
    return {name: (status, said) for name, status, _, said in (line.split("\t") for line in lines)}


def test_a_step_that_fails_does_not_stop_the_others(
    session: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = session("--small", FAILS="gpu_ratio.py")
    assert done.returncode == 1
    found = steps_in(tmp_path)
    assert found["ratio-5shot"] == ("3", "no gpu_ratio.py here")
    others = {name: status for name, (status, _) in found.items() if name != "ratio-5shot"}
    assert set(others.values()) == {"0"}
    assert len(others) == len(STEPS) - 1
    assert "no gpu_ratio.py here" in (tmp_path / "out" / "session.log").read_text("utf-8")


def test_steps_and_device_are_those_asked_for(
    session: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    plans = str(tmp_path / "plans")
    done = session("--plans", plans, "mmlu-5shot", "profile", DEVICE="cuda:1", SHAPE="135M", CHECKPOINTS="5")
    assert done.returncode == 0, done.stderr
    assert list(steps_in(tmp_path)) == ["mmlu-5shot", "profile"]
    called = [line for line in done.stdout.splitlines() if line.startswith("called")]
    assert f"--plan {plans}/mmlu-5shot --shape 135M --checkpoints 5" in called[0]
    assert all("--device cuda:1" in line for line in called)


def test_a_step_ends_with_the_time_that_is_left_and_the_next_are_not_begun(
    session: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = session("--small", "profile", "kernels", HANGS="gpu_profile.py", BUDGET_S="3", LEAST_S="2")
    assert done.returncode == 1
    found = steps_in(tmp_path)
    assert found["profile"][0] == "124"
    assert found["kernels"][0] == "no-time"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--plans", "/nowhere"], "no folder of plans"),
        (["--small", "headline"], "unknown step headline"),
        (["--fast"], "unknown option --fast"),
        (["--plans"], "--plans needs a folder"),
    ],
)
def test_a_wrong_command_is_told_with_the_steps_there_are(
    session: Callable[..., subprocess.CompletedProcess[str]], arguments: list[str], said: str
) -> None:
    done = session(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert said in error
    assert all(step in hint for step in STEPS)


def test_the_script_and_its_steps_go_together(tmp_path: Path) -> None:
    """Two of the steps; each of the others is run above by itself."""
    done = subprocess.run(
        ["bash", str(SESSION), "--small", "machine", "profile"],
        env={**os.environ, "OUT": str(tmp_path / "out"), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert {name: status for name, (status, _) in steps_in(tmp_path).items()} == {
        "machine": "0",
        "profile": "0",
    }
    assert len(rows_in(tmp_path / "out")) == 4
