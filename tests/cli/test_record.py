"""`milepost run --record`: figures go to a recorder as they are computed, and none goes twice."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from pathlib import Path

import pytest

from tests.cli.called import Called, milepost
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def run(source: Path, tasks: Path, out: Path, *arguments: object) -> Called:
    return milepost("run", source, "-t", "where", "--include-path", tasks, "-o", out, *arguments)


def stored(project: str) -> list[tuple[str, int, dict[str, object]]]:
    path = Path(os.environ["TRACKIO_DIR"]) / f"{project}.db"
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT run_id, step, metrics FROM metrics ORDER BY id").fetchall()
    return [(run_id, step, json.loads(metrics)) for run_id, step, metrics in found]


def test_steps_recorded_in_two_commands_are_one_run_with_the_figures_of_show(
    tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    out, record = tmp_path / "out", ("--record", "--record-project", "later")
    assert run(tiny_run, tasks, out, "--steps", "20", *record).status == 0
    called = run(tiny_run, tasks, out, *record)
    assert called.status == 0
    assert "trackio show --project later" in called.err
    assert "trackio" not in called.out
    again = run(tiny_run, tasks, out, *record)
    assert "trackio: all of tiny-run is recorded already" in again.err
    assert "trackio show" not in again.err
    rows = [row for row in stored("later") if "where/acc" in row[2]]
    assert [step for _, step, _ in rows] == [20, 10, 30]
    assert len({run_id for run_id, _, _ in stored("later")}) == 1
    shown = json.loads(milepost("show", out, "--metric", "acc", "--json").out)
    assert {step: row["where/acc"] for _, step, row in rows} == {one["step"]: one["value"] for one in shown}


@pytest.mark.parametrize(
    ("recorder", "said"),
    [
        ("tensorboard", "hint: (use )?one of trackio, wandb, none"),
        ("wandb", r"hint: pip install 'milepost\[wandb\]'"),
    ],
)
def test_a_recorder_that_cannot_be_used_is_told_before_any_work(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: str, said: str
) -> None:
    monkeypatch.setattr("milepost.recorders.available.is_installed", lambda _: False)
    called = run(tiny_run, tasks, tmp_path / "out", "--record", recorder)
    assert called.status == 2
    assert re.fullmatch(said, called.said[1])
    assert not (tmp_path / "out").exists()
