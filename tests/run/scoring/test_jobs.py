"""A job says what is left of a checkpoint; the results folder is asked once, not at every step."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.run import target
from milepost.run.config import EvalConfig
from milepost.run.display.journal import Journal
from milepost.run.plans.preparation import prepare
from milepost.run.scoring.jobs import CheckpointJob, JobState, make_jobs
from milepost.run.target import Target
from milepost.sources import discover
from milepost.store import ResultsFolder
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def jobs_of(run: Path, tasks: Path, out: Path) -> list[CheckpointJob]:
    config = EvalConfig.from_options(run, "where", include_path=tasks, output_path=out)
    with Journal() as journal:
        return make_jobs(ResultsFolder(out), prepare([discover(str(run))], config, journal), config)


def test_what_is_stored_already_is_not_work_to_do(tiny_run: Path, tasks: Path, tmp_path: Path) -> None:
    milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=tmp_path, steps="10")
    jobs = jobs_of(tiny_run, tasks, tmp_path)
    assert [job.state for job in jobs] == [JobState.DONE, JobState.UNSCORED, JobState.UNSCORED]
    assert [job.n_tokens for job in jobs] == [0, jobs[0].plan.n_tokens, jobs[0].plan.n_tokens]


def test_another_process_can_take_a_job(tiny_run: Path, tasks: Path, tmp_path: Path) -> None:
    job = jobs_of(tiny_run, tasks, tmp_path)[0].identified("f" * 64)
    taken: CheckpointJob = pickle.loads(pickle.dumps(job))
    assert taken.checkpoint == job.checkpoint
    assert taken.plan.plan_id == job.plan.plan_id
    assert [shard for _, shard in taken.missing] == [shard for _, shard in job.missing]
    assert taken.target.score_path(taken.missing[0][1]) == job.target.score_path(job.missing[0][1])
    assert taken.refreshed().state is JobState.UNSCORED


def test_weights_that_were_overwritten_are_work_to_do(tiny_run: Path, tasks: Path, tmp_path: Path) -> None:
    milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=tmp_path, steps="10")
    job = jobs_of(tiny_run, tasks, tmp_path)[0]
    assert job.model_id is not None
    assert job.identified(job.model_id) is job
    assert job.identified("f" * 64).state is JobState.UNSCORED


def test_shards_that_another_process_stored_meanwhile_are_not_left(
    tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    out, stored = tmp_path / "out", tmp_path / "stored"
    milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=out, steps="10")
    shutil.copytree(out, stored)
    shutil.rmtree(out / "store" / "scores")
    job = jobs_of(tiny_run, tasks, out)[0]
    assert job.state is JobState.UNSCORED
    shutil.copytree(stored / "store" / "scores", out / "store" / "scores")
    assert job.refreshed().state is JobState.DONE


class DiskQuestions(Counter[str]):
    """Counts what a run asks of the store: scans of a plan's shards, and looks at single score files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        scan, look, metrics = Target.missing_shards, target.looks_whole, Target.stored_metrics

        def missing_shards(own: Target, *arguments: Any, **options: Any) -> Any:
            self["scans"] += 1
            return scan(own, *arguments, **options)

        def looks_whole(path: Path) -> bool:
            self["looks"] += "scores" in path.parts
            return look(path)

        def stored_metrics(own: Target) -> Any:
            self["metrics"] += 1
            return metrics(own)

        monkeypatch.setattr(Target, "missing_shards", missing_shards)
        monkeypatch.setattr(Target, "stored_metrics", stored_metrics)
        monkeypatch.setattr("milepost.run.target.looks_whole", looks_whole)
        monkeypatch.setattr("milepost.run.scoring.shard_scoring.looks_whole", looks_whole)


def test_a_run_asks_the_store_little_and_a_warm_rerun_once_per_checkpoint(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> DiskQuestions:
        with monkeypatch.context() as patch:
            asked = DiskQuestions(patch)
            milepost.evaluate(tiny_run, "farm,prose", include_path=tasks, output_path=tmp_path / "out")
        return asked

    n_checkpoints, n_shards = 3, 3
    first, warm = run(), run()
    assert first["scans"] <= 2 * n_checkpoints
    assert first["looks"] <= 4 * n_checkpoints * n_shards
    assert first["metrics"] <= 2 * n_checkpoints
    assert warm == {
        "scans": n_checkpoints,
        "looks": n_checkpoints * n_shards,
        "metrics": n_checkpoints,
    }
