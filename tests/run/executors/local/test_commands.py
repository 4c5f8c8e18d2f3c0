"""Every command that runs models has workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.api.compare import compare
from milepost.api.perplexity import measure_perplexity
from milepost.api.watch import watch
from milepost.errors import MilepostError
from milepost.options import options_of
from milepost.run.config import OPTIONS
from milepost.run.placement import Placement
from tests.run.own_tasks import write_tasks

COMMANDS = {"run", "watch", "compare", "ppl"}


def test_the_options_of_workers_and_clusters_are_those_of_every_command_that_runs_models() -> None:
    found = {name: OPTIONS[name][1].commands for name in options_of(Placement)}
    assert {name for name, commands in found.items() if commands != COMMANDS} == set()
    assert {"workers", "devices", "device_map", "executor", "ray_address", "slurm_time"} <= found.keys()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["watch", "compare", "ppl"])
def test_a_command_with_workers_leaves_the_scoring_to_them(
    command: str, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared: dict[str, Any] = {"output_path": tmp_path / "out", "workers": 1, "verbosity": "INFO"}
    asked: dict[str, Any] = {**shared, "tasks": "where", "include_path": write_tasks(tmp_path / "tasks")}
    first = tiny_run / "checkpoint-10"
    if command == "watch":
        watched = watch(tiny_run, settle_s=0.0, steps="10:10", **asked)
        assert watched.results.scored == ("tiny-run/checkpoint-10",)
    elif command == "compare":
        compared = compare(first, tiny_run / "checkpoint-20", perplexity=False, **asked)
        assert (compared.failures, len(compared.study.variants)) == ({}, 1)
    else:
        text = tmp_path / "text.txt"
        text.write_text("the cat sat on the mat and the dog sat on the log\n" * 20)
        assert len(measure_perplexity(first, text=str(text), explain=False, **shared).found) == 1
    assert capsys.readouterr().err.count("worker 1 is process") == (2 if command == "compare" else 1)


def test_a_watch_says_at_once_that_there_are_no_such_devices(tmp_path: Path) -> None:
    with pytest.raises(MilepostError, match="--devices names GPUs"):
        watch(
            tmp_path / "not-there-yet", "where", output_path=tmp_path / "out", devices="0", device="cpu",
            include_path=write_tasks(tmp_path / "tasks"),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_model_is_not_spread_without_accelerate(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "accelerate" else find(name, *more)
    )
    with pytest.raises(MilepostError, match="--device-map auto needs accelerate") as caught:
        milepost.evaluate(
            tiny_run, "where", output_path=tmp_path / "out", device_map="auto",
            include_path=write_tasks(tmp_path / "tasks"),
        )  # fmt: skip
    assert (caught.value.exit_code, caught.value.hint) == (2, "pip install accelerate")
    assert not (tmp_path / "out").exists()
