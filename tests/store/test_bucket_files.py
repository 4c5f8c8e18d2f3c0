"""Records of a results folder in a bucket."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from milepost.buckets import as_path
from milepost.errors import BucketError, ResultsError
from milepost.store import ResultsFolder, file_state, listing, open_folder
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import _sealed, create_json, read_json, write_json
from milepost.store.bucket_files import files_of
from milepost.store.cleanup import sweep
from milepost.store.leases import Leases
from milepost.store.tables import looks_whole, read_made
from milepost.store.verify import repair, verify
from milepost.store.workers import Worker, live_workers
from milepost.types.shard_answers import ShardAnswers
from tests.buckets.server import S3Server


@pytest.fixture
def results(bucket: str) -> ResultsFolder:
    return ResultsFolder.create(as_path(f"{bucket}/results"))


def test_scores_are_written_and_read(results: ResultsFolder) -> None:
    path = results.score_path("model", "float32-v1", "shard")
    results.write_scores(
        path, ShardAnswers(np.array([-1.0, -2.5]), np.array([True, False])), {"device": "cpu"}
    )
    inside.look_again()
    assert looks_whole(path)
    loglikelihood, greedy = results.read_scores(path)
    assert loglikelihood.tolist() == [-1.0, -2.5]
    assert greedy.tolist() == [True, False]
    assert read_made(path) == {"device": "cpu"}
    assert not looks_whole(results.score_path("model", "float32-v1", "other"))


def test_a_record_says_its_own_name(results: ResultsFolder) -> None:
    path = results.plan_path("one")
    write_json(path, {"a": 1})
    assert read_json(path) == {"a": 1}
    inside.write(results.plan_path("two"), inside.read_bytes(path))
    with pytest.raises(ResultsError, match="in the place of another"):
        read_json(results.plan_path("two"))


def test_a_record_that_was_replaced_is_read_anew(results: ResultsFolder, s3: S3Server) -> None:
    path = results.plan_path("one")
    write_json(path, {"a": 1})
    assert read_json(path) == {"a": 1}
    files, key = files_of(path)
    files.bucket.write(key, _sealed(path, {"a": 2}))  # as another process does
    assert read_json(path) == {"a": 1}  # what this process wrote, until it looks again
    inside.look_again()
    assert read_json(path) == {"a": 2}


def test_what_was_read_before_is_not_fetched_again(results: ResultsFolder, s3: S3Server) -> None:
    paths = [results.plan_path(str(number)) for number in range(20)]
    for path in paths:
        write_json(path, {"a": 1})
    inside.look_again()
    s3.door.requests.clear()
    inside.bring(paths)
    assert [read_json(path) for path in paths] == [{"a": 1}] * 20
    assert len(s3.door.requests) == 1  # one list; the contents are in the cache since they were written


def test_a_question_about_each_of_many_records_is_one_list(results: ResultsFolder, s3: S3Server) -> None:
    inside.look_again()
    s3.door.requests.clear()
    paths = [results.score_path("model", "float32-v1", str(number)) for number in range(50)]
    assert not any(map(looks_whole, paths))
    assert len(s3.door.requests) == 2


def test_a_folder_of_other_things_is_refused(bucket: str) -> None:
    inside.write(as_path(f"{bucket}/data/notes.txt"), b"mine")
    with pytest.raises(ResultsError, match="not empty and not a results folder"):
        ResultsFolder.create(as_path(f"{bucket}/data"))
    with pytest.raises(ResultsError, match="is not a results folder"):
        open_folder(as_path(f"{bucket}/data"))
    with pytest.raises(ResultsError, match="does not exist"):
        open_folder(as_path(f"{bucket}/none"))


def test_a_store_that_ignores_conditions_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milepost.buckets.client.Bucket.create", lambda self, key, data: True)
    with pytest.raises(ResultsError, match="ignores the condition"):
        ResultsFolder.create(as_path(f"{bucket}/results"))


def test_a_record_is_created_once(results: ResultsFolder) -> None:
    path = results.series_path("run")
    assert create_json(path, {"series": "run", "places": ["a"]})
    assert not create_json(path, {"series": "run", "places": ["b"]})
    assert read_json(path)["places"] == ["a"]


def test_a_lease_is_held_by_one_and_taken_over_from_the_dead(results: ResultsFolder) -> None:
    with Worker(results, {}) as worker:
        leases = Leases(results, worker)
        with leases.hold("unit") as ours, leases.hold("unit") as again:
            assert ours
            assert not again
        assert listing.names(results.leases_folder) == []
        inside.create_with(results.leases_folder / "left.1", b"00000000-1-1")  # of a machine that is gone
        now = iter(range(0, 10_000, 100))
        leases.watch._clock = lambda: float(next(now))
        with leases.hold("left") as first:
            assert not first  # seen for the first time: it may be alive
        with leases.hold("left") as second:
            assert second
        assert [one.process for one in live_workers(results)] == [worker.process]
        sweep(results)
    assert listing.names(results.workers_folder) == []


def test_a_sign_of_life_is_seen(results: ResultsFolder) -> None:
    path = results.worker_path("one")
    inside.write(path, b"{}")
    before = file_state.state_of(path)
    inside.touch(path)
    assert file_state.state_of(path).modified >= before.modified
    assert abs(file_state.clock(results.workers_folder) - before.modified) < 60


def _take(address: str, environment: dict[str, str], unit: str, ours: multiprocessing.Queue[bool]) -> None:
    import os

    os.environ.update(environment)
    results = ResultsFolder(as_path(address))
    with Worker(results, {}) as worker, Leases(results, worker).hold(unit) as is_ours:
        ours.put(is_ours)
        if is_ours:
            while listing.names(results.folder_of("runs")) == []:
                pass  # until the others have tried


@pytest.mark.slow
def test_of_several_processes_that_take_a_lease_at_once_one_has_it(
    results: ResultsFolder, s3: S3Server
) -> None:
    context = multiprocessing.get_context("spawn")
    ours: multiprocessing.Queue[bool] = context.Queue()
    arguments = (str(results.path), s3.environment, "unit", ours)
    processes = [context.Process(target=_take, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    took = [ours.get(timeout=120) for _ in processes]
    inside.write(results.runs_folder / "go", b"")
    for process in processes:
        process.join()
    assert sorted(took) == [False, False, True]


def test_a_damaged_object_is_found_and_removed(results: ResultsFolder) -> None:
    path = results.score_path("model", "float32-v1", "shard")
    results.write_scores(path, ShardAnswers(np.array([-1.0]), np.array([True])))
    inside.write(path, inside.read_bytes(path)[:-20])
    inside.look_again()
    found = verify(results.path)
    assert [(one.kind, one.path) for one in found.findings] == [("damaged", path)]
    repair(found)
    inside.look_again()
    assert verify(results.path).is_sound


def test_a_store_that_is_gone_is_not_taken_for_damage(
    results: ResultsFolder, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged record is removed, so what only cannot be reached must not count as such."""
    monkeypatch.setattr("milepost.buckets.client.PAUSES_S", ())
    path = results.plan_path("one")
    write_json(path, {"a": 1})
    inside.look_again()
    monkeypatch.setattr("milepost.store.bucket_files.cache_folder", lambda: Path("/nowhere"))
    s3.door.busy = 1000
    with pytest.raises(BucketError):
        read_json(path)


def test_what_is_appended_is_written_when_the_file_is_closed(results: ResultsFolder) -> None:
    path = results.log_folder("run", "step-1") / "evaluation.log"
    for line in (b"one\n", b"two\n"):
        with inside.append(path) as log:
            log.write(line)
    assert inside.read_bytes(path) == b"one\ntwo\n"
