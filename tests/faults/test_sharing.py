"""Several processes on one results folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.records import contents, leftovers, score_files
from tests.faults.zygote import Zygote

pytestmark = pytest.mark.slow


def test_four_processes_score_each_shard_once_and_get_what_one_gets(
    asked: list[str], zygote: Zygote, uninterrupted: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    children = [
        zygote.start(*asked, "-o", results, "-v", log=tmp_path / f"{number}.log") for number in range(4)
    ]
    assert [child.wait() for child in children] == [0] * 4, children[0].output()
    assert contents(results) == contents(uninterrupted)
    scored = [
        int(found) for child in children for found in re.findall(r"(\d+) shards scored", child.output())
    ]
    assert sum(scored) == len(score_files(results)) > 60
    assert leftovers(results) == []
