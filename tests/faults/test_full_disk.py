"""No room, or no right to write: told in one line; what is stored stands, and the run can go on.

Status 1 where the disk gives out or is read-only, 2 where the command names a place that cannot hold results.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from milepost import evaluate
from milepost.errors import ResultsError, StorageError
from milepost.store import ResultsFolder, folder
from milepost.store import atomic_files as files
from milepost.store.folder import check_writable
from tests.cli.called import Called
from tests.faults.records import contents, leftovers, score_files
from tests.faults.small_disks import mounted
from tests.faults.zygote import Zygote

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB, to be made larger."""
    with mounted(tmp_path / "disk", "200k") as place:
        yield place


def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(
    small_disk: Path, asked: list[str], zygote: Zygote, uninterrupted: Path, tmp_path: Path
) -> None:
    results, log = small_disk / "results", tmp_path / "log"
    assert zygote.run(*asked, "-o", results, log=log) == 1, log.read_text("utf-8")
    said = log.read_text("utf-8")
    assert "No space left on device" in said
    assert "free space" in said
    assert "Traceback" not in said
    assert leftovers(results) == []
    before = score_files(results)
    assert 0 < len(before) < len(score_files(uninterrupted))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert zygote.run(*asked, "-o", results, log=log) == 0, log.read_text("utf-8")
    assert contents(results) == contents(uninterrupted)
    assert before.items() <= score_files(results).items()


def test_a_read_only_disk_is_told_before_any_work_and_what_it_holds_stays(
    small_disk: Path, asked: list[str], zygote: Zygote, uninterrupted: Path, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    results = shutil.copytree(uninterrupted, small_disk / "results")
    next((results / "store" / "metrics").rglob("*.json")).unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for place in (results, small_disk / "new"):
        log = tmp_path / f"{place.name}.log"
        assert zygote.run(*asked, "-o", place, log=log) == 1
        said = Called(1, "", log.read_text("utf-8")).said
        assert [line.split(":")[0] for line in said] == ["error", "hint"]
        assert str(place) in said[0]
        assert "Read-only file system" in said[0]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert zygote.run(*asked, "-o", results, log=log) == 0, log.read_text("utf-8")
    assert contents(results) == contents(uninterrupted)


def test_without_the_right_to_write_new_results_are_a_mistake_and_old_ones_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ResultsFolder.create(tmp_path / "old").path

    def refuse(**_: Any) -> str:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(folder.tempfile, "mkdtemp", refuse)
    for path, status in ((tmp_path / "new", 2), (old, 1)):
        with pytest.raises(ResultsError, match="Permission denied") as caught:
            check_writable(path)
        assert caught.value.exit_code == status
    assert sorted(tmp_path.iterdir()) == [old]


def test_output_below_a_file_is_a_mistake_in_the_command(
    asked: list[str], zygote: Zygote, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    log = tmp_path / "log"
    assert zygote.run(*asked, "-o", tmp_path / "file" / "results", log=log) == 2
    assert "file" in log.read_text("utf-8")
    assert "Traceback" not in log.read_text("utf-8")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("room_for", "reason"),
    [(0, errno.ENOSPC), (1, errno.ENOSPC), (3, errno.EROFS), (9, errno.EDQUOT)],
    ids=["full at once", "full", "became read-only", "quota used up"],
)
def test_at_whatever_record_the_disk_fills_up_nothing_is_left_half_written(
    room_for: int,
    reason: int,
    tiny_llama: Path,
    questions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = 0
    replace = os.replace

    def replace_while_there_is_room(source: Path, target: Path) -> None:
        nonlocal written
        written += 1
        if written > room_for:
            raise OSError(reason, os.strerror(reason))
        replace(source, target)

    results = tmp_path / "results"
    asked: dict[str, Any] = {
        "include_path": questions,
        "output_path": results,
        "engine": "padded",
        "limit": 2,
    }
    with monkeypatch.context() as full:
        full.setattr(files.os, "replace", replace_while_there_is_room)
        with pytest.raises(StorageError, match=os.strerror(reason)) as caught:
            evaluate(tiny_llama, "where", **asked)
    assert caught.value.exit_code == 1
    assert leftovers(results) == []
    assert evaluate(tiny_llama, "where", **asked).failures == {}
