"""Copies in the user's cache that nobody has used for long are removed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from milepost.files.cache import DAY_S, KEPT_DAYS, mark_used, remove_unused


def aged(path: Path, days: float) -> Path:
    """Write a file that was last used so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"copy")
    then = time.time() - days * DAY_S
    os.utime(path, (then, then))
    return path


def test_what_was_not_used_for_long_is_removed_with_its_folders(tmp_path: Path) -> None:
    old = aged(tmp_path / "objects" / "aa" / "old", KEPT_DAYS + 1)
    new = aged(tmp_path / "objects" / "ab" / "new", KEPT_DAYS - 1)
    remove_unused(tmp_path / "objects")
    assert not old.parent.exists()
    assert new.exists()


def test_what_is_used_stays(tmp_path: Path) -> None:
    used = aged(tmp_path / "objects" / "used", KEPT_DAYS + 1)
    mark_used(used)
    remove_unused(tmp_path / "objects")
    assert used.exists()


def test_unused_copies_are_looked_for_once_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    aged(folder / "new", 0)
    remove_unused(folder)
    old = aged(folder / "old", KEPT_DAYS + 1)
    remove_unused(folder)
    assert old.exists()
    then = time.time() - 2 * DAY_S
    os.utime(folder / ".looked-for-unused", (then, then))
    remove_unused(folder)
    assert not old.exists()


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    remove_unused(tmp_path / "objects")
    assert not (tmp_path / "objects").exists()
