"""Who may do what: one process per unit, and a dead one's work is taken over by one."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from milepost.store import ResultsFolder
from milepost.store.leases import Leases, leases_folder
from milepost.store.processes import is_running, this_process
from milepost.store.sweep import sweep
from milepost.store.workers import STALE_S, Worker, live_workers, workers_folder

FOREIGN = "0badcafe-1-1"
"""A process of a machine that is not this one."""


@pytest.fixture
def results(tmp_path: Path) -> ResultsFolder:
    return ResultsFolder.create(tmp_path / "results")


@pytest.fixture
def dead() -> str:
    """The name of a process that has ended."""
    code = "from milepost.store.processes import this_process; print(this_process())"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    ).stdout.strip()


def test_a_process_knows_itself_and_the_dead(dead: str) -> None:
    assert is_running(this_process()) is True
    assert is_running(dead) is False
    assert is_running(FOREIGN) is None
    assert is_running("nonsense") is None


def test_a_number_given_out_again_is_another_process() -> None:
    machine, pid, start = this_process().split("-")
    assert is_running(f"{machine}-{pid}-{int(start) + 1}") is False


def test_a_unit_is_held_once_and_given_back(results: ResultsFolder) -> None:
    with Worker(results, {}) as worker:
        leases = Leases(results, worker)
        with leases.hold("unit") as first, leases.hold("unit") as second:
            assert (first, second) == (True, False)
        with leases.hold("unit") as again:
            assert again
        assert list(leases_folder(results).iterdir()) == []


def test_a_unit_is_given_back_when_its_work_fails(results: ResultsFolder) -> None:
    with Worker(results, {}) as worker:
        leases = Leases(results, worker)
        with pytest.raises(RuntimeError), leases.hold("unit"):
            raise RuntimeError
        assert list(leases_folder(results).iterdir()) == []


def test_a_dead_process_is_taken_over_by_exactly_one(results: ResultsFolder, dead: str) -> None:
    with Worker(results, {}) as worker:
        leases = Leases(results, worker)
        for number in range(20):
            unit = f"unit-{number}"
            (leases_folder(results) / f"{unit}.1").write_text(dead)
            ready, tried = threading.Barrier(8), threading.Barrier(8)
            race = functools.partial(_race, leases, unit, ready, tried)
            with ThreadPoolExecutor(8) as threads:
                won = [threads.submit(race) for _ in range(8)]
            assert sum(one.result() for one in won) == 1


def _race(leases: Leases, unit: str, ready: threading.Barrier, tried: threading.Barrier) -> bool:
    ready.wait()
    with leases.hold(unit) as ours:
        tried.wait()
        return ours


def test_a_process_of_another_machine_is_waited_for_while_it_gives_signs_of_life(
    results: ResultsFolder,
) -> None:
    with Worker(results, {}) as worker:
        leases = Leases(results, worker)
        sign = workers_folder(results) / f"{FOREIGN}.json"
        sign.write_text("{}")
        (leases_folder(results) / "unit.1").write_text(FOREIGN)
        assert leases.others_at("un")
        with leases.hold("unit") as ours:
            assert not ours
        long_ago = time.time() - STALE_S - 5
        os.utime(sign, (long_ago, long_ago))
        assert not leases.others_at("un")
        with leases.hold("unit") as ours:
            assert ours


def test_who_is_at_work_is_listed_until_it_ends(results: ResultsFolder) -> None:
    with Worker(results, {"command": "milepost run"}) as worker:
        worker.at(checkpoint="step-1")
        (found,) = live_workers(results)
        assert found.record["pid"] == os.getpid()
        assert found.record["checkpoint"] == "step-1"
        assert found.record["command"] == "milepost run"
    assert live_workers(results) == []


def test_the_sweep_clears_after_the_dead_only(results: ResultsFolder, dead: str) -> None:
    store = results.path / "store"
    with Worker(results, {}) as worker:
        Leases(results, worker)
        theirs, ours = store / f".a.json.{dead}.tmp", store / f".b.json.{this_process()}.tmp"
        hidden = store / ".notes.tmp"
        for path in (theirs, ours, hidden):
            path.write_text("half")
        for holder, unit in ((dead, "theirs.1"), (worker.process, "ours.1")):
            (leases_folder(results) / unit).write_text(holder)
        (workers_folder(results) / f"{dead}.json").write_text("{}")
        assert sweep(results) == 1
        assert [path.exists() for path in (theirs, ours, hidden)] == [False, True, True]
        assert [path.name for path in leases_folder(results).iterdir()] == ["ours.1"]
        assert [path.stem for path in workers_folder(results).iterdir()] == [worker.process]
