"""What is said before a long run about its work and its disk space."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from milepost.run.disk_estimate import announce_work


def jobs(n: int) -> list[Any]:
    return [SimpleNamespace(plan=SimpleNamespace(tasks=()), n_tokens=3_000_000) for _ in range(n)]


@pytest.mark.parametrize(
    ("language", "n", "said"),
    [
        ("en", 1, "1 checkpoint, at most 3,000,000 tokens in all; results about 0 B, 5 GB free"),
        ("en", 2, "2 checkpoints, at most 6,000,000 tokens in all; results about 0 B, 5 GB free"),
        ("zh_CN", 2, "2 个检查点，总共最多 6,000,000 个 token；结果约 0 B，剩余 5 GB"),
    ],
)
def test_a_long_run_is_announced_in_the_readers_language(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    language: str,
    n: int,
    said: str,
) -> None:
    monkeypatch.setenv("MILEPOST_LANG", language)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000_000))
    announce_work(jobs(n), tmp_path)
    assert capsys.readouterr().err == f"{said}\n"
