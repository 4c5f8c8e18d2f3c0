"""The real wandb, offline, read back from the file it wrote."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from milepost.recorders import open_recording
from tests.analysis.made import rising, write_results
from tests.recorders.kept import record
from tests.recorders.test_recording import hide, reveal
from tests.recorders.wandb_file import history, records

STEPS = [100, 200, 300, 400]
RISING = rising("arc_easy", STEPS, low=0.3, high=0.5, n=400)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[Any]]:
    """A series recorded in two goes with checkpoints in disorder, what was said, and who was talked to."""
    results = write_results(tmp_path_factory.mktemp("wandb") / "results", RISING)
    said: list[str] = []
    spoken_to: list[Any] = []

    class Watched(socket.socket):
        def connect(self, address: Any) -> None:
            spoken_to.append((self.family, address))
            super().connect(address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", Watched)
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        hide(results, 100, 300, 400)
        reveal(results, 400)
        _record(results, [400, 200])
        reveal(results, 100, 300)
        _record(results, [300, 100])
        _record(results, [300, 100])
    return results, "\n".join(said), spoken_to


def _record(results: Path, steps: list[int]) -> None:
    into = open_recording("wandb")
    assert into is not None
    record(results, into, steps)


def test_without_a_login_it_records_offline_and_says_how_to_upload(
    recorded: tuple[Path, str, list[Any]],
) -> None:
    results, said, _ = recorded
    assert "offline, as you are not logged in; to upload it: wandb login, then wandb sync" in said
    assert len(files(results)) == 2
    assert str(files(results)[0].parent) in said


def test_both_goes_are_parts_of_one_run(recorded: tuple[Path, str, list[Any]]) -> None:
    runs = [entry.run for path in files(recorded[0]) for entry in records(path) if entry.HasField("run")]
    assert len({(run.run_id, run.project, run.display_name) for run in runs}) == 1
    assert (runs[0].project, runs[0].display_name) == ("milepost", "run")


def test_every_value_is_there_once_at_its_true_step(recorded: tuple[Path, str, list[Any]]) -> None:
    found = [row for path in files(recorded[0]) for row in history(path) if "arc_easy/acc" in row]
    assert sorted((row["step"], row["arc_easy/acc"], row["arc_easy/acc_stderr"]) for row in found) == [
        (measured.step, measured.value, measured.stderr) for measured in RISING
    ]


def test_all_metrics_are_drawn_over_their_step(recorded: tuple[Path, str, list[Any]]) -> None:
    drawn = [e.metric for path in files(recorded[0]) for e in records(path) if e.HasField("metric")]
    assert ("*", "step") in {(metric.glob_name, metric.step_metric) for metric in drawn}


def test_subjects_and_leaderboard_are_tables(recorded: tuple[Path, str, list[Any]]) -> None:
    rows = [(path, row) for path in files(recorded[0]) for row in history(path)]
    path, last = rows[-1]
    board = json.loads((path.parent / "files" / last["leaderboard/path"]).read_text())
    assert board["columns"] == ["checkpoint", "step", "win rate", "mean rank", "arc_easy/acc"]
    assert sorted([line[1], line[-1]] for line in board["data"]) == [[one.step, one.value] for one in RISING]
    assert sum("subjects/path" in row for _, row in rows) == len(STEPS)


def test_nothing_left_this_machine(recorded: tuple[Path, str, list[Any]]) -> None:
    _, _, spoken_to = recorded
    assert [
        address
        for family, address in spoken_to
        if family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost")
    ] == []
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"


def files(results: Path) -> list[Path]:
    return sorted(results.glob("wandb/offline-run-*/*.wandb"))


def test_a_server_that_does_not_answer_makes_it_offline_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    def login(**_: object) -> bool:
        raise wandb.errors.AuthenticationError("connection\nrefused")

    monkeypatch.setattr(wandb, "login", login)
    results = write_results(tmp_path / "results", RISING[:1])
    _record(results, STEPS[:1])
    assert "offline, as wandb's server does not let you in (connection refused)" in capsys.readouterr().err
    assert len(files(results)) == 1


def test_what_log_has_returned_from_is_in_the_file_before_the_run_is_closed(tmp_path: Path) -> None:
    from milepost.recorders.recorder import RecordedRun
    from milepost.recorders.to_wandb import WandbRecorder

    run = WandbRecorder(RecordedRun(project="p", run_id="early", name="n", folder=tmp_path, config={}))
    try:
        run.log(100, {"arc_easy/acc": 0.25}, [])
        (path,) = files(tmp_path)
        assert [(row["step"], row["arc_easy/acc"]) for row in history(path)] == [(100, 0.25)]
    finally:
        run.close()
