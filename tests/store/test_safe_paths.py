"""Nothing is read, written or removed through a link out of a results folder."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from milepost.errors import ResultsError
from milepost.report.lm_eval_files import export_lm_eval
from milepost.run.display.journal import Journal
from milepost.store import ResultsFolder, confinement, listing, open_folder
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import is_intact, read_json, write_atomically, write_json
from milepost.store.cleanup import sweep
from milepost.store.curve_cache import write_cached_curves
from milepost.store.file_names import file_part, safe_name
from milepost.store.layout import RECORD_KINDS
from milepost.store.leases import Leases
from milepost.store.records import RunRecord
from milepost.store.tables import looks_whole, read_table, write_table
from milepost.store.verify import repair, verify
from milepost.store.workers import Worker
from tests.analysis.made import mmlu, write_results
from tests.cli.called import milepost

SOURCE = Path(__file__).resolve().parents[2] / "src" / "milepost"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else's files, with a record that would be sound in its place."""
    folder = tmp_path / "outside"
    (folder / "inner").mkdir(parents=True)
    for name in ("tsconfig.json", "a.parquet", "notes.txt", ".x.json.00000000-1-1.tmp", "inner/b.json"):
        (folder / name).write_text("mine")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> ResultsFolder:
    return ResultsFolder.create(tmp_path / "results")


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def append_to_log(results: ResultsFolder) -> None:
    path = results.log_folder("run", "step-1") / "evaluation.log"
    with Journal() as journal, journal.evaluation_log(path) as log:
        log.info("a line")


def take_lease(results: ResultsFolder) -> None:
    with Worker(results, {}) as worker, Leases(results, worker).hold("unit"):
        pass


WRITERS: dict[str, tuple[str, Callable[[ResultsFolder], Any]]] = {
    "a record": ("store/plans", lambda r: write_json(r.plan_path("p"), {"a": 1})),
    "a deeper record": ("store/metrics", lambda r: write_json(r.metrics_path("p", "m", "n"), {"a": 1})),
    "a table": ("store/docs", lambda r: write_table(r.docs_path("d"), pa.table({"a": [1]}))),
    "a run": ("store/runs", lambda r: r.write_run(RunRecord(plan_id="p", series=()))),
    "a lease": ("store/leases", take_lease),
    "a worker": ("store/workers", lambda r: Worker(r, {}).__enter__()),
    "the note of curves": ("store", lambda r: write_cached_curves(r, [])),
    "a log": ("step-1", append_to_log),
    "a log's file": ("step-1/run/evaluation.log", append_to_log),
    "a result file": ("step-1", lambda r: write_atomically(r.log_folder("run", "step-1") / "a.json", b"")),
}


@pytest.mark.parametrize("what", WRITERS)
def test_no_writer_follows_a_link_out(what: str, results: ResultsFolder, outside: Path) -> None:
    place, write = WRITERS[what]
    link = results.path / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside / "notes.txt" if place.endswith(".log") else outside)
    before = content(outside)
    with pytest.raises(ResultsError, match="link out of the results folder"):
        write(results)
    assert content(outside) == before


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_written_through(
    results: ResultsFolder, outside: Path
) -> None:
    path = results.plan_path("p")
    path.parent.mkdir(parents=True)
    path.symlink_to(outside / "notes.txt")
    write_json(path, {"a": 1})
    assert not path.is_symlink()
    assert (outside / "notes.txt").read_text() == "mine"


def test_a_log_that_is_another_name_of_a_file_outside_is_copied_before_it_is_written(
    results: ResultsFolder, tmp_path: Path
) -> None:
    victim, log = tmp_path / "notes.txt", results.path / "a" / "b" / "evaluation.log"
    victim.write_bytes(b"mine\n")
    log.parent.mkdir(parents=True)
    os.link(victim, log)
    with inside.append(log) as file:
        file.write(b"ours\n")
    assert victim.read_bytes() == b"mine\n"
    assert log.read_bytes() == b"mine\nours\n"
    assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_no_reader_follows_a_link_out(results: ResultsFolder, outside: Path, tmp_path: Path) -> None:
    other = ResultsFolder.create(tmp_path / "other")
    write_json(other.plan_path("p"), {"a": 1})
    write_table(other.docs_path("d"), pa.table({"a": [1]}))
    for kind in ("plans", "docs"):
        (results.path / "store").mkdir(exist_ok=True)
        (results.path / "store" / kind).symlink_to(other.path / "store" / kind)
    with pytest.raises(ResultsError, match="link out"):
        read_json(results.plan_path("p"))
    with pytest.raises(ResultsError, match="link out"):
        read_table(results.docs_path("d"))
    assert not looks_whole(results.docs_path("d"))
    assert not is_intact(results.plan_path("p"))


def test_repair_and_sweep_remove_links_and_nothing_behind_them(results: ResultsFolder, outside: Path) -> None:
    store = results.path / "store"
    store.mkdir(exist_ok=True)
    for kind in (*RECORD_KINDS, "leases", "workers"):
        (store / kind).symlink_to(outside)
    (results.path / "step-1").symlink_to(outside)
    before = content(outside)
    found = verify(results.path)
    assert {finding.path.name for finding in found.findings} >= {*RECORD_KINDS, "leases", "workers", "step-1"}
    with pytest.raises(ResultsError):
        sweep(results)
    repair(found)
    assert content(outside) == before
    assert verify(results.path).is_sound
    assert not [path for path in listing.walk(results.path) if path.is_symlink()]


def test_links_that_stay_inside_are_followed(results: ResultsFolder) -> None:
    real = results.path / "store" / "here"
    real.mkdir(parents=True)
    (results.path / "store" / "plans").symlink_to(real)
    write_json(results.plan_path("p"), {"a": 1})
    assert read_json(results.plan_path("p")) == {"a": 1}


def test_the_folder_itself_may_be_a_link(tmp_path: Path, results: ResultsFolder) -> None:
    (tmp_path / "link").symlink_to(results.path)
    linked = open_folder(tmp_path / "link")
    write_json(linked.plan_path("p"), {"a": 1})
    assert read_json(linked.plan_path("p")) == {"a": 1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_in_the_place_of_a_record_is_damaged_and_not_waited_for(results: ResultsFolder) -> None:
    path = results.plan_path("p")
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(ResultsError, match="not a regular file"):
        read_json(path)
    assert [finding.path for finding in verify(results.path).findings] == [path]


def test_an_entry_that_climbs_out_is_refused(results: ResultsFolder) -> None:
    with pytest.raises(ResultsError, match="not a place in a results folder"):
        read_json(results.metrics_path("p", "../../../../etc/passwd", "n"))
    with pytest.raises(ResultsError, match="not a place in a results folder"):
        write_json(results.plan_path("../../../x"), {})


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "", "a\nb", "/etc/passwd", "x" * 400, "c:d"])
def test_no_name_of_a_task_checkpoint_or_series_leads_elsewhere(name: str, results: ResultsFolder) -> None:
    for part in (file_part(name), safe_name(name)):
        assert "/" not in part
        assert part not in ("", ".", "..")
        assert len(part.encode()) < 220
    confinement.check(results.log_folder(name, name))


def test_harmless_names_of_tasks_stay_as_lm_eval_writes_them() -> None:
    for name in ("mmlu_abstract_algebra", "a__b", "arc-easy", "task (2)"):
        assert file_part(name) == name


def test_exports_go_nowhere_else(results: ResultsFolder, tmp_path: Path, outside: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "step-1").symlink_to(outside)
    confinement.confine(out)
    with pytest.raises(ResultsError, match="link out"):
        write_atomically(out / "step-1" / "samples.jsonl", b"")
    assert export_lm_eval.__module__ == "milepost.report.lm_eval_files"


RAW = {"unlink", "write_text", "write_bytes", "rmtree", "touch", "mkdir", "rename", "symlink_to", "rmdir"}
"""Calls that write or remove by a path."""
TOUCH_RESULTS = ("store", "run", "report", "recorders", "watching", "submission", "analysis", "cli", "api")
"""Rooms that write into results folders, or into folders named on the command line."""
ELSEWHERE = {
    "store/safe_paths.py": "the one way",
    "store/folder.py": "makes the folder itself, and tries whether it can",
    "api/compare.py": "the folder of a report that the user names",
    "run/plans/plan_cache.py": "plans in the cache",
    "run/plans/plan_folder.py": "a folder that the user names",
    "run/convert.py": "a folder that the user names",
    "report/pdf.py": "a temporary folder of its own",
}


def is_raw(call: ast.Call) -> bool:
    """Whether it writes or removes without `store.safe_paths`."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = getattr(getattr(function, "value", None), "id", "")
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    texts = [one.value for one in values if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    opens = name == "open" and any(set(text) & set("wax+") and len(text) < 4 for text in texts)
    system = owner == "os" and name in ("open", "replace", "remove", "unlink", "mkdir", "makedirs")
    return opens or system or name == "FileHandler" or (name in RAW and owner != "inside")


def raw_writes() -> Iterator[tuple[str, int]]:
    """(file, line) of every raw write in the rooms that touch results."""
    for room in TOUCH_RESULTS:
        for path in sorted((SOURCE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and is_raw(node):
                    yield path.relative_to(SOURCE).as_posix(), node.lineno


def test_every_writer_goes_through_the_one_module() -> None:
    found = [one for one in raw_writes() if one[0] not in ELSEWHERE]
    assert found == []


def test_a_folder_below_one_called_store_can_be_moved_and_a_record_in_another_place_is_still_found(
    tmp_path: Path,
) -> None:
    first = ResultsFolder.create(tmp_path / "store" / "me" / "results")
    for series in ("store", "run"):
        write_json(first.checkpoint_path(series, "store"), {"series": series})
    moved = (tmp_path / "store" / "me" / "results").rename(tmp_path / "elsewhere")
    assert verify(moved).is_sound
    there = open_folder(moved)
    assert read_json(there.checkpoint_path("store", "store")) == {"series": "store"}
    there.checkpoint_path("run", "store").rename(there.checkpoint_path("run", "other"))
    with pytest.raises(ResultsError, match="in the place of another"):
        read_json(there.checkpoint_path("run", "other"))


def test_a_record_of_holes_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    if path.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("this file system keeps no holes")
    with pytest.raises(ResultsError, match="nearly all of them holes"):
        inside.read_bytes(path)


# ---- a folder that the person names by `..` ------------------------------------------------------------


def test_a_results_folder_may_be_named_by_the_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    results = ResultsFolder.create(Path("../results"))
    write_json(results.plan_path("p"), {"a": 1})
    assert read_json(tmp_path / "results" / "store" / "plans" / "p.json") == {"a": 1}
    assert [path.name for path in listing.files_below(results.store)] == ["p.json"]
    with pytest.raises(ResultsError, match="is not a place in a results folder"):
        read_json(results.plan_path("../../../x"))


@pytest.mark.parametrize("name", [".", "..", "../.."])
def test_who_stands_in_a_results_folder_may_write_beside_it_and_its_records_may_not(
    results: ResultsFolder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (results.store / "plans").mkdir(parents=True)
    monkeypatch.chdir({".": results.path, "..": results.store, "../..": results.store / "plans"}[name])
    opened = open_folder(Path(name))
    outside = results.path.parent / "picture.png"
    write_atomically(Path(os.path.relpath(outside)), b"1")
    assert outside.read_bytes() == b"1"
    with pytest.raises(ResultsError, match="is not a place in a results folder"):
        write_json(opened.plan_path("../../../x"), {})


def test_beside_a_link_the_folder_above_is_where_the_link_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "work").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "work")
    monkeypatch.chdir(tmp_path)
    results = ResultsFolder.create(Path("link/../results"))
    write_json(results.plan_path("p"), {})
    assert (tmp_path / "disk" / "results" / "store" / "plans" / "p.json").exists()


@pytest.mark.parametrize("target", ["p.png", "r.html", "r.md", "e.csv", "e.parquet", "b.html"])
def test_every_command_writes_into_the_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    write_results(tmp_path / "results", mmlu([1000, 2000, 3000], subjects=3))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    commands = {"p.png": "plot", "r.html": "report", "r.md": "report", "b.html": "leaderboard"}
    called = milepost(commands.get(target, "export"), "../results", "-o", f"../{target}")
    assert called.status == 0, called.err
    assert (tmp_path / target).stat().st_size > 0
