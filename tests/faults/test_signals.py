"""A run that is asked to end says how to go on, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.records import contents, leftovers, score_files
from tests.faults.zygote import Child, Zygote

pytestmark = pytest.mark.slow

PATIENCE_S = 600.0


def wait_for_shards(child: Child, results: Path, n: int) -> None:
    """Until the run has written `n` score files."""
    end = time.monotonic() + PATIENCE_S
    while len(score_files(results)) < n:
        assert time.monotonic() < end, child.output()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
    ids=["Ctrl-C", "kill", "closed terminal"],
)
def test_a_signal_ends_the_run_in_good_order_and_the_same_command_goes_on(
    number: signal.Signals,
    status: int,
    said: str,
    asked: list[str],
    zygote: Zygote,
    uninterrupted: Path,
    tmp_path: Path,
) -> None:
    results = tmp_path / "results"
    child = zygote.start(*asked, "-o", results, log=tmp_path / "log")
    wait_for_shards(child, results, 3)
    os.kill(child.pid, number)
    assert child.wait() == status, child.output()
    assert said in child.output()
    assert "the same command goes on" in child.output()
    assert "Traceback" not in child.output()
    assert leftovers(results) == []
    before = score_files(results)
    assert zygote.run(*asked, "-o", results, log=tmp_path / "log") == 0
    assert contents(results) == contents(uninterrupted)
    assert before.items() <= score_files(results).items()


def test_status_says_what_is_done_and_left_and_the_command_that_goes_on(
    asked: list[str], zygote: Zygote, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    child = zygote.start(*asked, "-o", results, log=tmp_path / "log")
    wait_for_shards(child, results, 3)
    os.kill(child.pid, signal.SIGSTOP)
    try:
        during = status(results)
        assert [worker["pid"] for worker in during["running"]] == [child.pid]
        (series,) = during["series"]
        assert series["checkpoints"][0]["shards_done"] >= 3
        assert not series["checkpoints"][-1]["done"]
    finally:
        os.kill(child.pid, signal.SIGCONT)
        os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    after = status(results)
    assert after["running"] == []
    words = shlex.split(str(after["series"][0]["command"]))
    assert words[0] == "milepost"
    assert zygote.run(*words[1:], log=tmp_path / "again") == 0
    assert [one["done"] for one in status(results)["series"][0]["checkpoints"]] == [True] * 3


def status(results: Path) -> dict[str, list[dict[str, object]]]:
    done = subprocess.run(
        [sys.executable, "-m", "milepost", "status", str(results), "--json"],
        capture_output=True,
        check=True,
        text=True,
    )
    found: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    return found


def test_a_detached_run_outlives_the_terminal_and_leaves_a_log(
    asked: list[str], uninterrupted: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    started = subprocess.run(
        [sys.executable, "-m", "milepost", *asked, "-o", str(results), "--detach", "--json"],
        capture_output=True,
        check=True,
        text=True,
        timeout=PATIENCE_S,
    )
    said = json.loads(started.stdout)
    assert os.getsid(said["pid"]) == said["pid"]
    log = Path(said["log"])
    end = time.monotonic() + PATIENCE_S
    while "3 scored" not in log.read_text("utf-8"):
        assert time.monotonic() < end, log.read_text("utf-8")
        time.sleep(0.2)
    assert contents(results) == contents(uninterrupted)
    assert "tiny-run checkpoint-30: scored" in log.read_text("utf-8")


def test_what_is_mistyped_is_told_before_the_run_is_left_to_itself(asked: list[str], tmp_path: Path) -> None:
    words = ["where,no_such_task" if word.startswith("where,") else word for word in asked]
    started = subprocess.run(
        [sys.executable, "-m", "milepost", *words, "-o", str(tmp_path / "results"), "--detach"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert started.returncode == 2
    assert "no_such_task" in started.stderr
    assert started.stdout == ""
    assert not (tmp_path / "results").exists()
