"""Who may do what: one process per unit, and a dead one's work is taken over by one."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from milepost.store import ResultsFolder, cleanup, safe_paths
from milepost.store.cleanup import sweep
from milepost.store.leases import Leases
from milepost.store.liveness import STALE_S, STOPPED_S, Watch
from milepost.store.processes import is_running, is_stopped, this_process
from milepost.store.workers import Worker, WorkerRecord, live_workers

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
        assert list(results.leases_folder.iterdir()) == []


def test_a_unit_is_given_back_when_its_work_fails(results: ResultsFolder) -> None:
    with Worker(results, {}) as worker:
        leases = Leases(results, worker)
        with pytest.raises(RuntimeError), leases.hold("unit"):
            raise RuntimeError
        assert list(results.leases_folder.iterdir()) == []


def test_an_interrupt_at_any_moment_of_taking_a_unit_leaves_no_lease(results: ResultsFolder) -> None:
    """A signal may come when the file is made and Python does not know its descriptor yet."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGALRM, interrupt)
    moments = random.Random(1)
    n_interrupted = 0
    try:
        with Worker(results, {}) as worker:
            leases = Leases(results, worker)
            for n in range(400):
                try:
                    signal.setitimer(signal.ITIMER_REAL, moments.uniform(10e-6, 400e-6))
                    with leases.hold(f"unit-{n}"):
                        time.sleep(1)
                except KeyboardInterrupt:
                    n_interrupted += 1
                leases.give_back_all()
                assert list(results.leases_folder.iterdir()) == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    assert n_interrupted == 400


def test_an_interrupt_leaves_the_lease_of_another_process(
    results: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path) -> int:
        path.write_text(FOREIGN)
        raise KeyboardInterrupt

    with Worker(results, {}) as worker:
        leases = Leases(results, worker)
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(safe_paths, "create", interrupted)
            with pytest.raises(KeyboardInterrupt), leases.hold("unit"):
                raise AssertionError("the block does not run")
        leases.give_back_all()
    assert [path.read_text() for path in results.leases_folder.iterdir()] == [FOREIGN]


def test_a_dead_process_is_taken_over_by_exactly_one(results: ResultsFolder, dead: str) -> None:
    with Worker(results, {}) as worker:
        leases = Leases(results, worker)
        for number in range(20):
            unit = f"unit-{number}"
            (results.leases_folder / f"{unit}.1").write_text(dead)
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


class Clock:
    """A clock that goes on when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def watched(results: ResultsFolder, worker: Worker) -> tuple[Leases, Clock]:
    """Leases whose watch of others goes by a clock of our own."""
    leases, clock = Leases(results, worker), Clock()
    leases.watch = Watch(clock)
    return leases, clock


@pytest.mark.parametrize("skew_days", [0, -400, 400])
def test_a_process_of_another_machine_is_waited_for_while_its_file_changes_whatever_its_clock(
    skew_days: int, results: ResultsFolder
) -> None:
    with Worker(results, {}) as worker:
        leases, clock = watched(results, worker)
        sign = results.workers_folder / f"{FOREIGN}.json"
        sign.write_text("{}")
        (results.leases_folder / "unit.1").write_text(FOREIGN)
        for beat in range(20):
            clock.now += 10
            its_time = time.time() + 86400 * skew_days + 10 * beat
            os.utime(sign, (its_time, its_time))
            assert leases.others_at("un")
        with leases.hold("unit") as ours:
            assert not ours
        clock.now += STALE_S + 1
        assert not leases.others_at("un")
        with leases.hold("unit") as ours:
            assert ours


def test_a_process_that_was_stopped_is_named_and_taken_over_and_does_no_harm(
    results: ResultsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    code = "from milepost.store.processes import this_process as p; print(p(), flush=True); input()"
    command = [sys.executable, "-c", code]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None
    assert other.stdout is not None
    name = other.stdout.readline().strip()
    try:
        with Worker(results, {}) as worker, caplog.at_level("WARNING"):
            leases, clock = watched(results, worker)
            (results.workers_folder / f"{name}.json").write_text("{}")
            (results.leases_folder / "unit.1").write_text(name)
            assert leases.others_at("un")
            clock.now += STOPPED_S + 1
            assert leases.others_at("un")
            os.kill(other.pid, signal.SIGSTOP)
            while not is_stopped(name):
                time.sleep(0.01)
            assert not leases.others_at("un")
            assert not leases.others_at("un")
            with leases.hold("unit") as ours:
                assert ours
                (results.leases_folder / "unit.1").unlink()  # it goes on, and gives its own lease back
                with leases.hold("unit") as again:
                    assert not again
            assert caplog.text.count("is stopped") == 1
            assert name in caplog.text
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
        other.stdin.close()


def test_a_process_that_moves_no_more_is_taken_over(results: ResultsFolder) -> None:
    """Its container was paused, or its file system hangs: it runs, and touches nothing."""
    name = f"{this_process().rpartition('-')[0].rpartition('-')[0]}-{os.getppid()}"
    parent = subprocess.run(["cat", f"/proc/{os.getppid()}/stat"], capture_output=True, text=True).stdout
    process = f"{name}-{parent.rpartition(')')[2].split()[19]}"
    assert is_running(process)
    with Worker(results, {}) as worker:
        leases, clock = watched(results, worker)
        (results.workers_folder / f"{process}.json").write_text("{}")
        (results.leases_folder / "unit.1").write_text(process)
        assert leases.others_at("un")
        clock.now += STALE_S + 1
        assert not leases.others_at("un")


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
            (results.leases_folder / unit).write_text(holder)
        (results.workers_folder / f"{dead}.json").write_text("{}")
        assert sweep(results) == 1
        assert [path.exists() for path in (theirs, ours, hidden)] == [False, True, True]
        assert [path.name for path in results.leases_folder.iterdir()] == ["ours.1"]
        assert [path.stem for path in results.workers_folder.iterdir()] == [worker.process]


def test_the_sweep_clears_a_lease_whose_process_was_killed_before_it_wrote_its_name(
    results: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Worker(results, {}) as worker:
        Leases(results, worker)
        lease = results.leases_folder / "unit.1"
        lease.touch()
        sweep(results)
        assert not lease.exists()
        lease.touch()
        # A process of another machine may be about to write its name.
        monkeypatch.setattr(cleanup, "live_workers", lambda _: [WorkerRecord(FOREIGN, {})])
        sweep(results)
        assert lease.exists()
