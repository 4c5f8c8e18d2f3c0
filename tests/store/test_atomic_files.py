"""A file is there whole or not at all, and names never meet."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from milepost.errors import ResultsError
from milepost.store.atomic_files import read_json, write_atomically, write_json
from milepost.store.file_names import safe_name


def test_a_full_disk_leaves_neither_half_a_file_nor_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match="No space left") as told:
        write_atomically(tmp_path / "record", b"data")
    assert told.value.hint is not None
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "record", b"old")

    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ResultsError):
        write_atomically(tmp_path / "record", b"new")
    assert (tmp_path / "record").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_number_that_json_has_no_word_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "record.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"value": 1})
    content = (tmp_path / "record.json").read_bytes()
    (tmp_path / "record.json").write_bytes(content[: len(content) // 2])
    with pytest.raises(ResultsError, match=r"record\.json"):
        read_json(tmp_path / "record.json")


NAMES = st.text(alphabet="ab_/.-é :\0\n", min_size=1, max_size=6)


@given(one=NAMES, other=NAMES)
def test_two_names_never_share_a_file(one: str, other: str) -> None:
    assume(one != other)
    assert safe_name(one) != safe_name(other)


@given(name=NAMES)
def test_a_safe_name_is_one_visible_component(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert "/" not in safe
    assert not safe.startswith(".")
    assert safe.isprintable()


def test_a_repository_keeps_the_spelling_of_lm_eval() -> None:
    assert safe_name("org/name") == "org__name"
