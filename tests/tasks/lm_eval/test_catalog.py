"""The index of task names equals lm_eval's; unknown names get suggestions; user tasks are added."""

from __future__ import annotations

from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from milepost.errors import TaskError
from milepost.tasks.lm_eval.catalog import OWN_TASKS, CatalogEntry, load_catalog, resolve_names
from milepost.tasks.lm_eval.yaml_file import parse_yaml
from tests.run.own_tasks import write_tasks


@pytest.mark.slow
def test_the_index_equals_that_of_lm_eval_entry_by_entry() -> None:
    theirs = TaskManager().task_index
    ours = {
        name: entry
        for name, entry in load_catalog().items()
        if not (entry.path and entry.path.startswith(str(OWN_TASKS)))
    }
    assert ours.keys() == theirs.keys()
    for name, entry in theirs.items():
        own = ours[name]
        assert (own.name, own.kind) == (entry.name, entry.kind.name), name
        assert own.path == (str(entry.yaml_path) if entry.yaml_path else None), name
        assert set(own.tags) == set(entry.tags), name


def refused(*names: str, include_path: Path | None = None) -> TaskError:
    with pytest.raises(TaskError) as raised:
        resolve_names(list(names), load_catalog(include_path))
    return raised.value


def test_an_unknown_name_is_refused_with_close_names() -> None:
    assert "hellaswag" in (refused("helaswag").hint or "")
    assert "arc_easy" in (refused("piqa", "arc-easy").hint or "")
    assert "--include-path" in (refused("qqqqqq").hint or "")


def test_a_pattern_selects_its_matches_and_must_match_something() -> None:
    names = resolve_names(["mmlu_stem", "hella[sS]wa?", "hellaswag"], load_catalog())
    assert names == ["mmlu_stem", "hellaswag"]
    assert "'mmmlu_*zzz'" in refused("mmmlu_*zzz").message


def test_user_tasks_join_the_index_and_win_over_lm_evals(tmp_path: Path) -> None:
    write_tasks(tmp_path)
    (tmp_path / "mine.yaml").write_text("task: piqa\noutput_type: multiple_choice\n")
    catalog = load_catalog(tmp_path)
    assert catalog["where"] == CatalogEntry(
        "where", "TASK", str(tmp_path / "where.yaml"), ("animals",), is_own=True
    )
    assert catalog["farm"].kind == "GROUP"
    assert catalog["animals"] == CatalogEntry("animals", "TAG", None, ("where", "who"), is_own=True)
    assert catalog["piqa"].path == str(tmp_path / "mine.yaml")
    assert load_catalog()["piqa"].path != catalog["piqa"].path


BAD = {
    "task: [x\noutput_type: y\n": "line 2",
    "task: x\n  doc_to_text: y\n": "line 2",
    "- task\n": "line 1",
    "task: x\ninclude: nowhere.yaml\n": "nowhere.yaml",
    "task: !!python/object:os.system x\n": "line 1",
}


@pytest.mark.parametrize("text", BAD)
def test_wrong_user_yaml_is_refused_with_file_and_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(TaskError, match=r"bad\.yaml") as raised:
        load_catalog(tmp_path)
    assert BAD[text] in raised.value.message


def test_circular_includes_are_refused_as_by_lm_eval(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: b.yaml\ntask: round\n")
    (tmp_path / "b.yaml").write_text("include: a.yaml\ntag: circle\n")
    with pytest.raises(TaskError, match=r"includes .*a\.yaml twice"):
        load_catalog(tmp_path)


def test_functions_are_read_as_text_and_do_not_run(tmp_path: Path) -> None:
    path = tmp_path / "code.yaml"
    path.write_text("task: x\ndoc_to_text: !function nowhere.nothing\n")
    assert parse_yaml(path)["doc_to_text"] == "nowhere.nothing"


def test_a_task_file_as_include_path_is_answered_with_its_folder(tmp_path: Path) -> None:
    file = write_tasks(tmp_path / "own") / "where.yaml"
    with pytest.raises(TaskError) as refusal:
        load_catalog(file)
    assert refusal.value.message == f"--include-path {file} is a file"
    assert refusal.value.hint == f"pass the folder it lies in: --include-path {file.parent}"
