"""Results in a bucket: processes that are killed, that share the work, and a store that fails for a while."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.buckets.server import S3Server
from tests.faults.records import contents
from tests.faults.zygote import Zygote

pytestmark = pytest.mark.slow
SCORES = "/store/scores/"


def test_a_killed_run_goes_on_and_scores_at_most_the_shard_under_way_again(
    asked: list[str], zygote: Zygote, uninterrupted: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    results, log = f"{bucket}/results", tmp_path / "log"
    n_kills = 3
    for kill in range(1, n_kills + 1):
        child = zygote.start(*asked, "-o", results, log=log, before=s3.code)
        while len(s3.writes(SCORES)) < 20 * kill and not child.has_ended():
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert zygote.run(*asked, "-o", results, log=log, before=s3.code) == 0, log.read_text("utf-8")
    written = s3.writes(SCORES)
    assert written.total() - len(written) <= n_kills
    copied = s3.copy(results, tmp_path / "copy")
    assert contents(copied) == contents(uninterrupted)
    assert list((copied / "store").glob("leases/*")) == []


def test_two_processes_share_a_bucket_that_is_busy_for_a_while_and_score_each_shard_once(
    asked: list[str], zygote: Zygote, uninterrupted: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    results = f"{bucket}/results"
    children = [
        zygote.start(*asked, "-o", results, "-v", log=tmp_path / f"{number}.log", before=s3.code)
        for number in range(2)
    ]
    while len(s3.writes(SCORES)) < 10 and not children[0].has_ended():
        time.sleep(0.01)
    s3.door.busy = 12
    assert [child.wait() for child in children] == [0, 0], children[0].output()
    assert s3.door.busy == 0
    assert set(s3.writes(SCORES).values()) == {1}
    assert all("shards scored" in child.output() for child in children)
    assert contents(s3.copy(results, tmp_path / "copy")) == contents(uninterrupted)


def test_workers_of_one_command_share_a_bucket(
    asked: list[str], zygote: Zygote, uninterrupted: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    results, log = f"{bucket}/results", tmp_path / "log"
    done = zygote.run(*asked, "-o", results, "--workers", "2", log=log, before=s3.code)
    assert done == 0, log.read_text("utf-8")
    assert set(s3.writes(SCORES).values()) == {1}
    assert contents(s3.copy(results, tmp_path / "copy")) == contents(uninterrupted)
