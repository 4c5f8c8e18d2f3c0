"""Checkpoints of one curve that different versions scored are told of."""

from __future__ import annotations

from pathlib import Path

import pytest

import milepost
from milepost.report.notes import version_notes
from milepost.store.atomic_files import read_json, write_json
from milepost.store.records import CheckpointRecord
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_tasks


def record(name: str, series: str = "run", **versions: str) -> CheckpointRecord:
    return CheckpointRecord(series=series, name=name, step=1, versions=versions)


def test_one_version_needs_no_word() -> None:
    records = [
        record("step-1", torch="2.11.0"),
        record("step-2", torch="2.11.0"),
        record("step-3", series="x"),
    ]
    assert version_notes(records, {"run", "x"}) == []


def test_each_version_is_told_with_its_checkpoints() -> None:
    records = [
        record("step-1", torch="2.11.0"),
        record("step-2", torch="2.13.0"),
        record("step-3", torch="2.13.0"),
    ]
    (note,) = version_notes(records, {"run"})
    assert note.startswith(
        "run: scored with different versions of torch (2.11.0: step-1; 2.13.0: step-2, step-3)"
    )
    assert version_notes(records, {"another"}) == []


def test_show_and_run_tell_it(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, out = write_tasks(tmp_path / "tasks"), tmp_path / "out"
    milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=out)
    assert "different versions" not in call("show", out).err
    path = next((out / "store" / "checkpoints").glob("*/*20*.json"))
    old = read_json(path)
    assert old["versions"].keys() == {"torch", "transformers"}
    write_json(path, {**old, "versions": old["versions"] | {"transformers": "4.0.0"}})
    note = "scored with different versions of transformers"
    assert note in call("show", out).err
    assert note in call("run", tiny_run, "-t", "where", "--include-path", tasks, "-o", out).err
