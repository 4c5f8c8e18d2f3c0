"""SIGKILL at random moments: nothing stored is lost, nothing is done twice, the numbers are the same.

Eight kills by default; `make soak` sets MILEPOST_KILLS=50 and MILEPOST_SOAK_REPORT.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.faults.conftest import N_KILLS
from tests.faults.records import contents, leftovers, score_files
from tests.faults.zygote import Child, Zygote

SEED = int(os.environ.get("MILEPOST_KILLS_SEED", "4"))


@dataclass(frozen=True)
class Kill:
    """One kill of the series, and what it left."""

    after_s: float
    killed: bool
    """False where the run was done before."""
    stored: int
    """Score files after it."""
    under_way: int
    """Leases it left behind: shards whose work was lost."""
    temporary: int


@dataclass(frozen=True)
class Series:
    """A run killed again and again, then left to end."""

    results: Path
    kills: list[Kill]
    stored_at_kill: list[dict[Path, tuple[int, int]]]
    final_status: int
    output: str


@pytest.fixture(scope="module")
def series(asked: list[str], zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Series:
    folder = tmp_path_factory.mktemp("kills")
    results, log = folder / "results", folder / "log"
    moments = random.Random(SEED)
    kills, stored = [], []
    for _ in range(N_KILLS):
        before = len(score_files(results))
        # Half of the moments fall into scoring, wherever it begins on this machine; the others anywhere.
        wait_for_score = moments.random() < 0.5
        after_s = moments.uniform(0, 5 / N_KILLS if wait_for_score else 1)
        child = zygote.start(*asked, "-o", results, log=log)
        if wait_for_score:
            _until_a_shard_is_added(child, results, before)
        time.sleep(after_s)
        if not child.has_ended():
            os.kill(child.pid, signal.SIGKILL)
        killed = child.wait() == -signal.SIGKILL
        stored.append(score_files(results))
        kills.append(Kill(round(after_s, 3), killed, len(stored[-1]), _leases(results), _temporary(results)))
    status = zygote.run(*asked, "-o", results, log=log)
    return Series(results, kills, stored, status, log.read_text("utf-8"))


def _until_a_shard_is_added(child: Child, results: Path, before: int) -> None:
    while len(score_files(results)) <= before and not child.has_ended():
        time.sleep(0.005)


def _leases(results: Path) -> int:
    leases = (results / "store" / "leases").glob("*")
    return len({path.stem for path in leases if "-figures-" not in path.name})


def _temporary(results: Path) -> int:
    return sum(1 for _ in results.rglob(".*.tmp"))


def test_the_run_after_the_kills_completes(series: Series) -> None:
    assert series.final_status == 0, series.output
    assert sum(kill.killed for kill in series.kills) >= N_KILLS * 3 // 4
    _report(series)


def test_the_records_equal_those_of_an_uninterrupted_run(series: Series, uninterrupted: Path) -> None:
    assert contents(series.results) == contents(uninterrupted)


def test_a_kill_costs_at_most_the_one_shard_under_way(series: Series) -> None:
    assert max(kill.under_way for kill in series.kills) <= 1
    final = score_files(series.results)
    for stored in series.stored_at_kill:
        assert stored.items() <= final.items()  # the same inode and time: nothing stored was written again


def test_no_temporary_file_lease_or_note_of_a_process_is_left(series: Series) -> None:
    assert leftovers(series.results) == []


def test_verify_finds_nothing_wrong(series: Series) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "milepost", "verify", str(series.results), "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["sound"]
    assert found["checked"] > 100


def _report(series: Series) -> None:
    path = os.environ.get("MILEPOST_SOAK_REPORT")
    if path is None:
        return
    summary = {
        "kills": sum(kill.killed for kill in series.kills),
        "asked_for": N_KILLS,
        "seed": SEED,
        "shards": len(score_files(series.results)),
        "most_shards_lost_by_one_kill": max(kill.under_way for kill in series.kills),
        "kills_that_left_a_temporary_file": sum(kill.temporary > 0 for kill in series.kills),
        "each": [asdict(kill) for kill in series.kills],
    }
    Path(path).write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
