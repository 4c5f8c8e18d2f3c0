"""The real trackio, read back from its SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from milepost.recorders import open_recording
from tests.analysis.made import rising, write_results
from tests.cli.called import milepost
from tests.recorders.kept import record
from tests.recorders.test_recording import hide, reveal

STEPS = [100, 200, 300, 400]
RISING = rising("arc_easy", STEPS, low=0.3, high=0.5, n=400)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What trackio has of a series recorded in two goes with checkpoints in disorder."""
    results = write_results(tmp_path_factory.mktemp("trackio") / "results", RISING)
    hide(results, 100, 300)
    _record(results, "disorder", [400, 200])
    reveal(results, 100, 300)
    _record(results, "disorder", [300, 100])
    _record(results, "disorder", [300, 100])
    return _stored("disorder")


def _record(results: Path, project: str, steps: list[int], series: str = "run") -> None:
    into = open_recording("trackio", project)
    assert into is not None
    record(results, into, steps, series)


def _stored(project: str) -> list[dict[str, Any]]:
    path = Path(os.environ["TRACKIO_DIR"]) / f"{project}.db"
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT run_id, run_name, step, metrics FROM metrics ORDER BY id").fetchall()
    return [
        {"run_id": run_id, "name": name, "step": step, **json.loads(metrics)}
        for run_id, name, step, metrics in found
    ]


def test_every_value_is_there_once_at_its_true_step(rows: list[dict[str, Any]]) -> None:
    found = [(row["step"], row["arc_easy/acc"]) for row in rows if "arc_easy/acc" in row]
    assert sorted(found) == [(measured.step, measured.value) for measured in RISING]


def test_both_goes_are_one_run(rows: list[dict[str, Any]]) -> None:
    assert len({(row["run_id"], row["name"]) for row in rows}) == 1
    assert rows[0]["name"].startswith("run ")


def test_subjects_and_leaderboard_are_tables(rows: list[dict[str, Any]]) -> None:
    assert sum("subjects" in row for row in rows) == len(STEPS)
    board = rows[-1]["leaderboard"]["_value"]
    assert sorted((line["step"], line["arc_easy/acc"]) for line in board) == [
        (measured.step, measured.value) for measured in RISING
    ]
    assert board[0]["win rate"] == 1.0


def test_two_results_folders_with_a_series_of_one_name_are_two_runs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _record(write_results(tmp_path / name, RISING), "twins", STEPS)
    assert len({row["run_id"] for row in _stored("twins")}) == 2


def test_a_run_of_the_users_own_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import trackio

    own = trackio.init(project="own", name="mine", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    capsys.readouterr()
    _record(write_results(tmp_path / "results", RISING), "beside", STEPS)
    shown = capsys.readouterr()
    trackio.log({"loss": 1.5})
    trackio.finish()
    assert own.name == "mine"
    assert [row["loss"] for row in _stored("own")] == [1.5]
    assert shown.out == ""
    assert "trackio show --project beside" in shown.err


def test_a_server_that_its_settings_name_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from milepost.recorders.recorder import RecordedRun
    from milepost.recorders.to_trackio import TrackioRecorder

    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://127.0.0.1:9/?write_token=secret")
    run = RecordedRun(project="p", run_id="1", name="n", folder=tmp_path, config={})
    assert TrackioRecorder(run).where.endswith("http://127.0.0.1:9/, as TRACKIO_SERVER_URL says")


def test_a_leaderboard_is_recorded_with_its_published_models(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", RISING)
    published = tmp_path / "published.yaml"
    published.write_text("Perfect:\n  source: a paper\n  arc_easy: 0.9\n")
    into = ("--record", "--record-project", "board")
    called = milepost("leaderboard", results, "--baselines", published, *into)
    assert called.status == 0
    assert "trackio show --project board" in called.err
    found = _stored("board")
    assert [row["step"] for row in found if row["name"].startswith("Perfect")] == [400]
    assert {row["arc_easy/acc"] for row in found if row["name"].startswith("Perfect")} == {0.9}
    (table,) = (row["leaderboard"] for row in found if "leaderboard" in row)
    assert [line["model"] for line in table["_value"]] == ["Perfect", "run"]
