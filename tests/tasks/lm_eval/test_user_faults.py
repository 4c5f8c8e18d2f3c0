"""Faults in task files give messages with the task or file, the fault and a hint."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from milepost.errors import MissingDataError, TaskError
from milepost.tasks.lm_eval.faults import blaming_the_task
from milepost.tasks.names import check_distinct, check_name
from tests.tasks.lm_eval.test_trust import build, config, refused, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tests.tasks.lm_eval.test_trust import folder as made

    return made.__wrapped__(tmp_path, monkeypatch)


class Wrong(NamedTuple):
    change: dict[str, Any]
    says: str
    hints: str = ""


WRONG: dict[str, Wrong] = {
    "missing file": Wrong(
        {"dataset_kwargs": {"data_files": {"test": "nope.jsonl"}}}, "of test nope.jsonl", "folder you are in"
    ),
    "missing pattern": Wrong({"dataset_kwargs": {"data_files": "nope-*.jsonl"}}, "matches nope-*.jsonl"),
    "missing folder": Wrong({"dataset_path": "./nowhere"}, "dataset_path ./nowhere does not exist"),
    "load_from_disk": Wrong(
        {"dataset_kwargs": {"load_from_disk": True}}, "load_from_disk", "dataset_path: arrow"
    ),
    "missing split": Wrong({"test_split": "validation"}, "test_split is 'validation', its data has test"),
    "missing few-shot split": Wrong({"fewshot_split": "train"}, "fewshot_split is 'train'"),
    "label field": Wrong(
        {"doc_to_target": "labl"}, "does not name the right choice of any doc", "did you mean label"
    ),
    "label template": Wrong({"doc_to_target": "{{labl}}"}, "names 'labl'", "did you mean label"),
    "label beyond": Wrong({"doc_to_target": 7}, "index out of range", "may be beyond its"),
    "text template": Wrong({"doc_to_text": "{{questio}}"}, "names 'questio'", "did you mean question"),
    "choices field": Wrong({"doc_to_choice": "choises"}, "'choises' is not a list"),
    "template": Wrong({"doc_to_text": "{{question"}, "doc_to_text is not a valid Jinja template"),
    "unknown key": Wrong({"doc_to_txt": "x"}, "unknown key 'doc_to_txt'", "did you mean doc_to_text"),
    "unknown few-shot key": Wrong({"fewshot_config": {"samples_": []}}, "unknown key 'samples_'"),
    "output type": Wrong({"output_type": "multiple_choise"}, "multiple_choise", "multiple_choice"),
    "metric": Wrong({"metric_list": [{"metric": "accc"}]}, "metric 'accc'", "did you mean acc"),
    "no metric": Wrong({"metric_list": [{"aggregation": "mean"}]}, "has no `metric`"),
    "metrics as text": Wrong({"metric_list": "acc"}, "metric_list is 'acc'; lm_eval takes a list"),
    "aggregation": Wrong(
        {"metric_list": [{"metric": "acc", "aggregation": "maen"}]},
        "no aggregation 'maen'",
        "did you mean mean",
    ),
    "filter": Wrong(
        {"filter_list": [{"name": "f", "filter": [{"function": "regexx"}]}]},
        "no filter function 'regexx'",
        "did you mean regex",
    ),
    "filter argument": Wrong(
        {"filter_list": [{"name": "f", "filter": [{"function": "regex", "pattern": "x"}]}]},
        "does not take these arguments",
    ),
    "regular expression": Wrong(
        {"filter_list": [{"name": "f", "filter": [{"function": "regex", "regex_pattern": "("}]}]},
        "not a valid regular expression",
    ),
    "filter without steps": Wrong({"filter_list": [{"name": "f"}]}, "no `filter`"),
    "filter without function": Wrong(
        {"filter_list": [{"name": "f", "filter": [{"regex_pattern": "x"}]}]}, "without `function`"
    ),
    "sampler": Wrong({"fewshot_config": {"sampler": "first"}, "fewshot_split": "test"}, "no sampler 'first'"),
    "few-shot number": Wrong({"num_fewshot": "three"}, "num_fewshot is 'three'"),
    "negative few-shot": Wrong({"num_fewshot": -1}, "num_fewshot is -1"),
    "yes and no": Wrong({"doc_to_choice": [False, True]}, "doc_to_choice is [False, True]", "quotes"),
    "numbers as choices": Wrong({"doc_to_choice": [1, 2]}, "doc_to_choice is [1, 2]", "quotes"),
    "alias": Wrong({"task_alias": "\x1b[31mred"}, "task_alias '\\x1b[31mred' has characters"),
    "long alias": Wrong({"task_alias": "x" * 10_000}, "has more than 200 characters"),
    "filter name": Wrong(
        {"filter_list": [{"name": "a,b", "filter": [{"function": "take_first"}]}]}, "has a comma"
    ),
    "repeats": Wrong({"repeats": 0}, "repeats is 0"),
    "endless repeats": Wrong({"repeats": 10**9}, "repeats is 1000000000"),
    "kwargs": Wrong({"dataset_kwargs": "x"}, "dataset_kwargs is 'x'"),
    "unknown argument": Wrong({"dataset_kwargs": {"data_flies": "x"}}, "'data_flies'"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_fault_has_a_message_and_a_hint(folder: Path, wrong: Wrong) -> None:
    write(folder / "t.yaml", config(folder, **wrong.change))
    error = refused(folder)
    assert wrong.says in error.message or wrong.says in (error.hint or "")
    assert wrong.hints in (error.hint or "")
    assert error.exit_code == 2
    assert "t.yaml" in error.message or "task t" in error.message


GROUPS: dict[str, tuple[dict[str, Any], str]] = {
    "no members": ({"task": []}, "has no members"),
    "a name for members": ({"task": "m"}, "has no members"),
    "unknown member": ({"task": ["mm"]}, "member 'mm' is not a task"),
    "unknown inline": ({"task": [{"task": "n", "num_fewshot": 1}]}, "has no dataset_path"),
    "unknown key of a member": ({"task": [{"task": "m", "num_fewshots": 1}]}, "unknown key 'num_fewshots'"),
    "no metric": ({"task": ["m"], "aggregate_metric_list": [{"weight_by_size": True}]}, "has no `metric`"),
    "aggregation": (
        {"task": ["m"], "aggregate_metric_list": [{"metric": "acc", "aggregation": "max"}]},
        "`mean` only",
    ),
    "weight": (
        {"task": ["m"], "aggregate_metric_list": [{"metric": "acc", "weight_by_size": "yess"}]},
        "weight_by_size is 'yess'",
    ),
    "unknown key": ({"task": ["m"], "group_aliass": "x"}, "unknown key 'group_aliass'"),
}


@pytest.mark.parametrize(("content", "says"), GROUPS.values(), ids=GROUPS)
def test_a_fault_of_a_group_has_a_message(folder: Path, content: dict[str, Any], says: str) -> None:
    write(folder / "m.yaml", config(folder, task="m"))
    write(folder / "t.yaml", {"group": "t", **content})
    assert says in refused(folder).message


NAMES = {
    "traversal": "../../x",
    "absolute": "/tmp/x",
    "backslash": "a\\b",
    "escape": "\x1b[31mred",
    "newline": "a\nb",
    "null": "a\0b",
    "override": "a\u202eb",
    "zero width": "a\u200bb",
    "formula": "=1+1",
    "option": "-x",
    "dots": "..",
    "hidden": ".x",
    "end": "x.",
    "html": "<b>",
    "pipe": "a|b",
    "long": "x" * 200,
    "device": "con",
    "glob": "a*b",
    "number": 7,
    "list": ["a"],
    "empty": "",
    "percent": "%2e%2e%2f",
    "star": "*",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("kind", ["task", "group", "tag", "inline task", "inline group"])
def test_a_name_that_is_not_a_file_name_is_refused(folder: Path, name: Any, kind: str) -> None:
    plain = config(folder, task="m")
    write(folder / "m.yaml", plain)
    content: dict[str, Any] = {
        "task": config(folder) | {"task": name},
        "group": {"group": name, "task": ["m"]},
        "tag": config(folder, task="tt", tag=[name]),
        "inline task": {"group": "g", "task": [plain | {"task": name}]},
        "inline group": {"group": "g", "task": [{"group": name, "task": ["m"]}]},
    }[kind]
    if kind == "tag" and not isinstance(name, str):
        pytest.skip("a tag that is not text is refused as a value")
    (folder / "t.yaml").write_text(yaml.safe_dump(content))
    error = refused(folder, "g" if kind.startswith("inline") else "m")
    assert error.message.isprintable()
    assert len(error.message) < 600


def test_names_of_every_script_and_of_lm_eval_are_accepted() -> None:
    for name in (
        "mmlu_anatomy",
        "tmmluplus_education_(profession_level)",
        "日本語",
        "जीवन",
        "a.b-c",
        "_x",
        "x:y",
        "ä 1",
    ):
        assert check_name(name, "task", "t.yaml") == name


def test_names_that_are_one_file_on_some_disks_are_refused(folder: Path) -> None:
    check_distinct(["a", "b"], ["a"], "here")
    for name, other in (("Task", "task"), ("caf\u00e9", "cafe\u0301"), ("straße", "STRASSE")):
        with pytest.raises(TaskError, match="share files"):
            check_distinct([name, other], [], "here")
    write(folder / "t.yaml", config(folder, task="MMLU_anatomy"))
    assert "mmlu_anatomy" in refused(folder, "MMLU_anatomy").message


def test_a_task_with_labels_of_some_right_choices_runs_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """lm_eval counts the others as wrong, and so does Milepost."""
    write(folder / "t.yaml", config(folder, doc_to_target="{{ 9 if label == 1 else label }}"))
    with caplog.at_level(logging.WARNING):
        build(folder)
    assert "t: the labels of 2 of 4 docs are not among their choices (the first is doc 1)" in caplog.text


def test_lm_evals_warning_of_a_label_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        logging.getLogger("lm_eval.api.task").warning("Label index was not in within range,Sample:\n\n{...}")
    assert caplog.messages == ["the label of a doc is not one of its choices; every answer counts as wrong"]


def test_a_loading_script_is_refused_and_does_not_run(folder: Path) -> None:
    data = folder / "mine"
    data.mkdir()
    (data / "mine.py").write_text(f"open({str(folder / 'RAN')!r}, 'w')\n")
    write(folder / "t.yaml", config(folder, dataset_path=str(data)))
    error = refused(folder)
    assert "holds a script" in error.message
    assert not (folder / "RAN").exists()


@pytest.mark.parametrize("is_own", [True, False])
def test_a_package_that_is_missing_is_named_and_the_task_can_be_left_out(is_own: bool) -> None:
    reason = "`sympy` is required. Please install it via pip install lm-eval[math]"
    with pytest.raises(MissingDataError) as failure, blaming_the_task("minerva_math", is_own=is_own):
        raise ModuleNotFoundError(reason)
    assert failure.value.task == "minerva_math"
    assert failure.value.message == f"task minerva_math: a package is not installed: {reason}"
    assert "--skip-missing-data leaves the task out" in failure.value.one_line
