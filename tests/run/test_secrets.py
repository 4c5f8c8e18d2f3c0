"""Credentials in addresses and in the environment reach no record, log, export or screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.own_tasks import write_tasks

pytestmark = pytest.mark.hub
TOKEN = "hf_" + "q7Z" * 11
ADDRESS = "https://alice:SECRETPASS@mirror.example/org/name?token=SECRETPASS"


def test_nothing_that_a_run_writes_or_says_holds_a_credential(
    hub: str, tiny_run: Path, tmp_path: Path
) -> None:
    """The Hub's address with a password, a token, an unused --base that is an address, and a source gone."""
    tasks = write_tasks(tmp_path / "tasks")
    with_password = re.sub("://", "://alice:SECRETPASS@", hub)
    home = {"HF_HOME": str(tmp_path / "home"), "MILEPOST_CACHE": str(tmp_path / "cache")}
    said = ""
    for sources in (["hf://tiny/english-4m@step-25"], [str(tiny_run)], ["hf://tiny/nope"], [ADDRESS]):
        command = [sys.executable, "-m", "milepost", "run", *sources, "-t", "prose", "-v"]
        options = ["--include-path", str(tasks), "-o", str(tmp_path / "out"), "-L", "2", "--base", ADDRESS]
        done = subprocess.run(
            [*command, *options],
            env={**os.environ, **home, "HF_ENDPOINT": with_password, "HF_TOKEN": TOKEN},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said += done.stdout + done.stderr
    assert "2 scored" in said or "3 scored" in said or "scored" in said
    assert "SECRETPASS" not in said
    assert TOKEN not in said
    written = [
        path for folder in ("out", "cache") for path in (tmp_path / folder).rglob("*") if path.is_file()
    ]
    assert written
    for path in written:
        content = path.read_bytes()
        assert b"SECRETPASS" not in content, path
        assert TOKEN.encode() not in content, path
