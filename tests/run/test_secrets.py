"""Credentials in addresses and in the environment reach no record, log, export or screen."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from milepost.files.cache import cache_folder
from milepost.tasks.lm_eval.catalog import load_catalog
from tests.run.own_tasks import write_tasks

pytestmark = pytest.mark.hub
TOKEN = "hf_" + "q7Z" * 11
EACH = """
import json, sys
from milepost.cli.main import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        print(f"status {end.code or 0}")
"""
"""Run commands in one process, as huggingface_hub reads the Hub's address when it is imported."""
ADDRESS = "https://alice:SECRETPASS@mirror.example/org/name?token=SECRETPASS"


@pytest.mark.slow
def test_nothing_that_a_run_writes_or_says_holds_a_credential(
    hub: str, tiny_run: Path, tmp_path: Path
) -> None:
    """The Hub's address with a password, a token, an unused --base that is an address, and a source gone."""
    tasks = write_tasks(tmp_path / "tasks")
    with_password = re.sub("://", "://alice:SECRETPASS@", hub)
    home = {"HF_HOME": str(tmp_path / "home"), "MILEPOST_CACHE": str(tmp_path / "cache")}
    load_catalog()  # the index of lm_eval's tasks takes seconds to make, and was made before
    shutil.copytree(cache_folder() / "catalogs", tmp_path / "cache" / "catalogs")
    folders = ["--include-path", str(tasks), "-o", str(tmp_path / "out")]
    commands = [
        ["run", source, "-t", "prose", "-v", "-L", "2", "--base", ADDRESS, *folders]
        for source in (
            "hf://tiny/english-4m@step-25",
            str(tiny_run / "checkpoint-10"),
            "hf://tiny/nope",
            ADDRESS,
        )
    ]
    done = subprocess.run(
        [sys.executable, "-c", EACH, json.dumps(commands)],
        env={**os.environ, **home, "HF_ENDPOINT": with_password, "HF_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    said = done.stdout + done.stderr
    assert re.findall(r"^status (\d)$", done.stdout, re.MULTILINE) == ["0", "0", "2", "2"]
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
