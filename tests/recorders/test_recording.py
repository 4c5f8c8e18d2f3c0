"""Each metric once, at its step, in one run per series, whatever happened before."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from milepost.analysis import rows
from milepost.errors import MilepostError
from milepost.recorders import check_recorder, open_recording
from milepost.recorders.leaderboard import final_table
from milepost.recorders.recorder import RecorderError
from milepost.recorders.recording import Recording
from milepost.store import open_folder
from milepost.store.atomic_files import read_json, write_json
from milepost.store.verify import verify
from tests.analysis.made import accuracy, measurement, mmlu, rising, write_results
from tests.recorders.kept import Kept, checkpoint, record, recording

STEPS = [100, 200, 300, 400]
RISING = rising("arc_easy", STEPS, low=0.3, high=0.5, n=400)
TRUTH = [(measured.step, measured.value) for measured in RISING]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(tmp_path / "results", RISING)


def kept_in(kept: Kept) -> Recording:
    return Recording("kept", kept.open, "milepost")


def hide(results: Path, *steps: int) -> None:
    """As if these checkpoints had not been scored yet."""
    for step in steps:
        path = open_folder(results).checkpoint_path("run", f"step-{step}")
        path.rename(path.with_suffix(".later"))


def reveal(results: Path, *steps: int) -> None:
    for step in steps:
        path = open_folder(results).checkpoint_path("run", f"step-{step}")
        path.with_suffix(".later").rename(path)


def test_checkpoints_that_come_late_or_out_of_order_are_logged_at_their_own_step(results: Path) -> None:
    order = STEPS.copy()
    random.Random(3).shuffle(order)
    hide(results, *order)
    kept = Kept()
    into = kept_in(kept)
    with recording(results, into):
        for step in order:
            reveal(results, step)
            into.metrics_stored("plan", checkpoint(step))
    assert [step for step, _ in kept.curve] == order
    assert sorted(kept.curve) == TRUTH
    assert kept.closed == len(kept.runs) == 1


def test_the_same_command_again_opens_no_run_and_logs_nothing(results: Path) -> None:
    record(results, kept_in(Kept()), STEPS)
    again = Kept()
    record(results, kept_in(again), STEPS)
    assert (again.runs, again.logged) == ([], [])


def test_a_later_command_goes_on_with_the_same_run_and_adds_what_is_new(results: Path) -> None:
    hide(results, 200, 400)
    first, then = Kept(), Kept()
    record(results, kept_in(first), [100, 300])
    reveal(results, 200, 400)
    record(results, kept_in(then), [100, 300, 400])
    assert [run.run_id for run in first.runs] == [run.run_id for run in then.runs]
    assert sorted(first.curve + then.curve) == TRUTH
    assert first.tables == then.tables == ["subjects", "subjects", "leaderboard"]


def test_what_was_scored_before_recording_began_is_recorded_at_the_first_word(results: Path) -> None:
    kept = Kept()
    record(results, kept_in(kept), [400])
    assert sorted(kept.curve) == TRUTH


def test_the_leaderboard_is_the_last_table_with_every_checkpoint(results: Path) -> None:
    kept = Kept()
    record(results, kept_in(kept), STEPS)
    step, metrics, (table,) = kept.logged[-1]
    assert (step, dict(metrics), table.name) == (400, {}, "leaderboard")
    assert table.columns == ("checkpoint", "step", "win rate", "mean rank", "arc_easy/acc")
    assert sorted((row[1], row[-1]) for row in table.rows) == TRUTH


def test_the_leaderboard_ranks_checkpoints_as_helm_ranks_models() -> None:
    """By hand: of three checkpoints, 2 wins both columns; 1 and 3 share the other places, one tie."""
    metrics = {
        "arc_easy": ({1: 0.2, 2: 0.5, 3: 0.4}, True),
        "wikitext": ({1: 30.0, 2: 20.0, 3: 30.0}, False),
    }
    measured = [
        measurement(task=task, step=step, value=value, higher_is_better=better)
        for task, (values, better) in metrics.items()
        for step, value in values.items()
    ]
    table = final_table(rows(measured))
    assert [row[1:4] for row in table.rows] == [[2, 1.0, 1.0], [3, 0.375, 2.25], [1, 0.125, 2.75]]


def test_one_checkpoint_alone_has_no_rank() -> None:
    (row,) = final_table(rows([measurement(task="arc_easy", step=1, value=0.5)])).rows
    assert row == ["step-1", 1, None, None, 0.5]


def test_subjects_are_in_the_table_and_groups_in_the_curves(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", mmlu([100], subjects=8))
    kept = Kept()
    record(results, kept_in(kept), [100])
    _, metrics, (table,) = kept.logged[0]
    groups = ("", "_stem", "_humanities", "_social_sciences", "_other")
    assert set(metrics) == {f"mmlu{group}/{what}" for group in groups for what in ("acc", "acc_stderr")}
    tasks = [row[table.columns.index("task")] for row in table.rows]
    assert "mmlu_subject_07" in tasks
    assert len(tasks) == 13


def test_each_series_has_a_run_of_its_own(tmp_path: Path) -> None:
    both = [accuracy(task="arc_easy", step=100, value=v, n=50, series=s) for s, v in (("a", 0.3), ("b", 0.4))]
    results = write_results(tmp_path / "results", both)
    kept = Kept()
    into = kept_in(kept)
    with recording(results, into):
        into.metrics_stored("plan", checkpoint(100, "a"))
        into.metrics_stored("plan", checkpoint(100, "b"))
    assert [run.name for run in kept.runs] == ["a", "b"]
    assert len({run.run_id for run in kept.runs}) == 2
    assert kept.curve == [(100, 0.3), (100, 0.4)]


def test_docs_asked_with_another_limit_go_into_another_run(results: Path) -> None:
    kept = Kept()
    record(results, kept_in(kept), STEPS)
    plan = open_folder(results).plan_path("plan")
    record_ = read_json(plan)
    record_["settings"]["asked"]["limit"] = 100.0
    write_json(plan, record_)
    record(results, kept_in(kept), STEPS)
    assert [run.name for run in kept.runs] == ["run", "run limit 100"]


def test_a_checkpoint_that_was_overwritten_is_recorded_anew(results: Path) -> None:
    kept = Kept()
    record(results, kept_in(kept), STEPS)
    folder = open_folder(results)
    path = folder.checkpoint_path("run", "step-400")
    new = {**read_json(path), "model_id": "overwritten"}
    write_json(path, new)
    row = {"setting": "0-shot", **_row(0.9)}
    write_json(folder.metrics_path("plan", "overwritten", "float32"), {"rows": [row]})
    record(results, kept_in(kept), STEPS)
    assert kept.curve[len(STEPS) :] == [(400, 0.9)]


def _row(value: float) -> dict[str, object]:
    import dataclasses

    return dataclasses.asdict(measurement(task="arc_easy", step=400, value=value))


def test_a_checkpoint_without_a_step_is_in_no_curve_but_in_the_leaderboard(tmp_path: Path) -> None:
    main = measurement(task="arc_easy", step=None, checkpoint="main")
    results = write_results(tmp_path / "results", [*RISING, main])
    kept = Kept()
    record(results, kept_in(kept), [None])
    assert sorted(kept.curve) == TRUTH
    assert "main" in [row[0] for row in kept.logged[-1][2][0].rows]


def test_of_two_processes_on_one_folder_one_records(results: Path) -> None:
    one, other = Kept(), Kept()
    first, second = kept_in(one), kept_in(other)
    with recording(results, first):
        first.metrics_stored("plan", checkpoint(100))
        second.begin(first._results, first._leases)
        second.metrics_stored("plan", checkpoint(200))
        second.end()
    assert other.logged == []
    assert sorted(one.curve) == TRUTH


def test_a_recorder_that_fails_ends_the_recording_and_the_next_command_catches_up(
    results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(results, kept_in(Kept(fails=True)), STEPS)
    assert "recording has stopped (kept: the disk is full)" in caplog.text
    kept = Kept()
    record(results, kept_in(kept), STEPS)
    assert sorted(kept.curve) == TRUTH


def test_what_is_noted_of_it_in_the_results_folder_is_verified_like_any_record(results: Path) -> None:
    record(results, kept_in(Kept()), STEPS)
    (ledger,) = (results / "store" / "recorded" / "kept").glob("*.json")
    ledger.write_bytes(ledger.read_bytes().replace(b"step-100", b"step-101"))
    assert ledger in [finding.path for finding in verify(results).findings]


def test_recorders_are_known_by_name() -> None:
    assert open_recording("none") is None
    with pytest.raises(MilepostError, match="no recorder 'tensorboard'"):
        check_recorder("tensorboard")


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_recorder_that_is_not_installed_is_told_with_the_pip_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.recorders.available.is_installed", lambda _: False)
    with pytest.raises(RecorderError, match=f"{name} is not installed") as raised:
        check_recorder(name)
    assert raised.value.hint == f"pip install 'milepost[{name}]'"


def test_one_recording_serves_several_runs_one_after_the_other(results: Path) -> None:
    kept = Kept()
    into = kept_in(kept)
    hide(results, 300, 400)
    record(results, into, [100, 200])
    reveal(results, 300, 400)
    record(results, into, [300, 400])
    assert sorted(kept.curve) == TRUTH
    assert kept.closed == len(kept.runs) == 2
    assert len({run.run_id for run in kept.runs}) == 1
