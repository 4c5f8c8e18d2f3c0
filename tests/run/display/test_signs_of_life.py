"""A person sees what is being done, and how far downloads are, on a terminal and in a log."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pytest

from milepost.network import downloads as transfers
from milepost.network.downloads import counting, downloads
from milepost.run.display import signs_of_life
from milepost.run.display.journal import Journal
from milepost.run.display.progress import show_progress
from milepost.run.display.signs_of_life import SignsOfLife, download_line
from milepost.run.display.timing import Clock
from tests.run.display.test_progress import FARM, checkpoint
from tests.run.own_tasks import write_tasks


def test_a_stage_that_takes_long_is_told_once_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs_of_life, "MOMENT_S", 0.0)
    monkeypatch.setattr(signs_of_life, "LOOK_S", 0.01)
    with SignsOfLife() as signs, signs.stage("loading tasks and data"):
        time.sleep(0.3)
    assert capsys.readouterr().err == "loading tasks and data ...\n"


def test_a_stage_of_a_moment_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with SignsOfLife() as signs, signs.stage("loading tasks and data"):
        pass
    assert capsys.readouterr().err == ""


def test_a_download_is_told_with_its_bytes_its_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(transfers.time, "monotonic", lambda: now)
    with counting("hf://org/name@step-1", 990_000_000) as transfer:
        assert downloads() == (transfer,)
        assert download_line(transfer) == "downloading hf://org/name@step-1: 0 B of 990 MB"
        now += 10
        transfer.add(110_000_000)
        told = "downloading hf://org/name@step-1: 110 MB of 990 MB, 11 MB/s, about 80 s left"
        assert download_line(transfer) == told
        transfer.total_bytes = None  # the server does not say it
        assert download_line(transfer) == "downloading hf://org/name@step-1: 110 MB, 11 MB/s"
    assert downloads() == ()


def test_no_line_is_eaten_by_the_bars(tmp_path: Path) -> None:
    """What is logged or printed while bars are drawn stands above them afterwards."""
    script = tmp_path / "bars.py"
    script.write_text(
        "import logging, sys, time\n"
        "sys.path.insert(0, '.')\n"
        "from tests.run.display.test_signs_of_life import draw\n"
        "draw()\n"
    )
    child = pexpect.spawn(sys.executable, [str(script)], encoding="utf-8", dimensions=(30, 100), timeout=60)
    child.expect(pexpect.EOF)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", child.before or "").replace("\r", "\n").split("\n")
    for told in ("warning: logged 1", "warning: logged 2", "printed 1", "printed 2", "run step-1: scored"):
        assert any(line.strip() == told for line in lines), (told, lines)


def draw() -> None:
    """Bars over two checkpoints, with lines from a logger and from print."""
    clock = Clock({checkpoint(step): {"farm": 1000} for step in (1, 2)})
    with Journal(logging.WARNING) as journal, show_progress(2, clock) as shown:
        for step in (1, 2):
            shown.start(checkpoint(step))
            time.sleep(0.3)
            logging.getLogger("milepost.run").warning("logged %d", step)
            journal.say_collected()
            print(f"printed {step}", file=sys.stderr)
            shown.advance(checkpoint(step), FARM)
            time.sleep(0.3)
            shown.finish(checkpoint(step), "scored")


def test_the_clock_of_a_checkpoint_begins_anew_and_that_of_the_run_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import rich.progress

    now = 100.0
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    created: list[rich.progress.Progress] = []
    init = rich.progress.Progress.__init__

    def keep(self: rich.progress.Progress, *columns: Any, **options: Any) -> None:
        created.append(self)
        init(self, *columns, get_time=lambda: now, **options)

    monkeypatch.setattr(rich.progress.Progress, "__init__", keep)
    with show_progress(2, Clock({checkpoint(step): {"farm": 1000} for step in (1, 2)})) as shown:
        shown.start(checkpoint(1))
        now += 60
        shown.finish(checkpoint(1), "scored")
        shown.start(checkpoint(2))
        now += 5
        (display,) = created
        passed = {task.description: task.elapsed for task in display.tasks}
    assert passed == {"all checkpoints": 65, "run step-2": 5}


@pytest.mark.slow
def test_a_command_says_what_it_does_before_it_has_imported_anything_large(
    tiny_run: Path, tmp_path: Path
) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    command = ["run", str(tiny_run), "-t", "where", "--include-path", str(tasks), "-o", str(tmp_path / "out")]
    called = subprocess.run(
        [sys.executable, "-m", "milepost", *command],
        env=os.environ | {"MILEPOST_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    told = called.stderr.splitlines()
    assert told[0] in (
        "importing libraries ...",
        "checking the tasks ...",
        "importing torch and transformers ...",
    )
    assert any(line.startswith("[3/3]") for line in told)
