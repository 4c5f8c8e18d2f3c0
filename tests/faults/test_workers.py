"""Chaos among workers: SIGKILL at random, the driver killed, Ctrl-C, a disk that is full for a while."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from milepost.errors import ResultsError
from milepost.store.atomic_files import read_json
from tests.faults.records import leftovers, score_files
from tests.faults.small_disks import mounted
from tests.faults.zygote import Child, Zygote
from tests.run.executors.same_records import assert_same_records

pytestmark = pytest.mark.slow

N_KILLS = 30
SEED = int(os.environ.get("MILEPOST_KILLS_SEED", "4"))
PATIENCE_S = 120.0


@pytest.fixture
def asked_of_workers(asked: list[str]) -> list[str]:
    """The same questions in shards of a doc or two, for two workers."""
    given = list(asked)
    given[given.index("--shard-tokens") + 1] = "30"
    return [*given, "--workers", "2"]


@pytest.fixture(scope="module")
def small_shards_alone(asked: list[str], zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process that nothing disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    given = list(asked)
    given[given.index("--shard-tokens") + 1] = "30"
    assert zygote.run(*given, "-o", folder / "results", log=folder / "log") == 0, (folder / "log").read_text()
    return folder / "results"


def workers_of(results: Path, driver: int) -> list[int]:
    """Numbers of the worker processes that have a record, but for the driver's own."""
    found = []
    for path in (results / "store" / "workers").glob("*.json"):
        try:
            pid = int(read_json(path)["pid"])
        except (ResultsError, OSError):
            continue
        if pid != driver and is_alive(pid):
            found.append(pid)
    return sorted(found)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def has_stored(results: Path, n: int) -> Callable[[], bool]:
    """Return a condition: so many shards are stored."""
    return lambda: len(score_files(results)) >= n


def until(condition: Callable[[], bool], child: Child) -> None:
    """Wait until a condition holds or the run has ended."""
    end = time.monotonic() + PATIENCE_S
    while not condition() and not child.has_ended():
        assert time.monotonic() < end, child.output()
        time.sleep(0.01)


def test_thirty_workers_killed_at_random_cost_at_most_a_shard_each(
    asked_of_workers: list[str], zygote: Zygote, small_shards_alone: Path, tmp_path: Path
) -> None:
    results, log = tmp_path / "results", tmp_path / "log"
    moments = random.Random(SEED)
    child = zygote.start(*asked_of_workers, "-o", results, "-v", log=log)
    n_killed = 0
    seen: dict[Path, tuple[int, int]] = {}
    while n_killed < N_KILLS and not child.has_ended():
        until(lambda: bool(workers_of(results, child.pid)), child)
        if moments.random() < 0.7:  # else they would mostly die while they load the model
            until(has_stored(results, len(seen) + 1), child)
        time.sleep(moments.uniform(0, 0.5))
        for pid in moments.sample(found := workers_of(results, child.pid), k=min(1, len(found))):
            os.kill(pid, signal.SIGKILL)
            n_killed += 1
        now = score_files(results)
        assert seen.items() <= now.items(), "nothing that is stored is scored again"
        seen = now
    assert child.wait() == 0, child.output()
    assert seen.items() <= score_files(results).items()
    assert_same_records(results, small_shards_alone)
    assert leftovers(results) == []
    said = child.output()
    n_died = said.count("takes its place")
    assert n_killed * 0.8 <= n_died <= n_killed
    n_scored = sum(map(int, re.findall(r"^(\d+) shards scored", said, re.MULTILINE)))
    assert n_scored <= len(score_files(results)) + n_died


def test_a_driver_that_is_killed_leaves_no_process_and_the_same_command_goes_on(
    asked_of_workers: list[str], zygote: Zygote, small_shards_alone: Path, tmp_path: Path
) -> None:
    results, log = tmp_path / "results", tmp_path / "log"
    for n_stored in (3, 40):
        child = zygote.start(*asked_of_workers, "-o", results, log=log)
        until(has_stored(results, n_stored), child)
        workers = workers_of(results, child.pid)
        before = score_files(results)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        end = time.monotonic() + 20
        while any(map(is_alive, workers)) and time.monotonic() < end:
            time.sleep(0.05)
        assert [pid for pid in workers if is_alive(pid)] == []
    assert zygote.run(*asked_of_workers, "-o", results, log=log) == 0, log.read_text()
    assert before.items() <= score_files(results).items()
    assert_same_records(results, small_shards_alone)
    assert leftovers(results) == []


def test_ctrl_c_ends_every_worker(asked_of_workers: list[str], zygote: Zygote, tmp_path: Path) -> None:
    results, log = tmp_path / "results", tmp_path / "log"
    child = zygote.start(*asked_of_workers, "-o", results, log=log)
    until(has_stored(results, 3), child)
    workers = workers_of(results, child.pid)
    assert len(workers) == 2
    os.kill(child.pid, signal.SIGINT)
    assert child.wait() == 130, child.output()
    assert [pid for pid in workers if is_alive(pid)] == []
    assert leftovers(results) == []
    assert "Traceback" not in child.output()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with mounted(tmp_path / "disk", "8m") as place:
        yield place


def test_a_disk_that_is_full_for_a_while_holds_the_run_up_and_does_not_end_it(
    small_disk: Path, asked: list[str], zygote: Zygote, uninterrupted: Path, tmp_path: Path
) -> None:
    results, log, filling = small_disk / "results", tmp_path / "log", small_disk / "filling"
    log.touch()
    child = zygote.start(*asked, "--workers", "2", "-o", results, log=log)
    until(has_stored(results, 3), child)
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    until(lambda: "waiting for space" in child.output(), child)
    before = score_files(results)
    time.sleep(1)
    filling.unlink()
    assert child.wait() == 0, child.output()
    assert before.items() <= score_files(results).items()
    assert_same_records(results, uninterrupted)
    assert leftovers(results) == []
    assert child.output().count("waiting for space") == 1
