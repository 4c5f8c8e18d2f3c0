"""Untrusted task files run no code, in any key, place or spelling."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import os
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lm_eval.api.task
import lm_eval.prompts
import pytest
import yaml
from lm_eval.config.group import AggMetricConfig, GroupConfig
from lm_eval.config.task import FewshotConfig, TaskConfig

from milepost.errors import TaskError
from milepost.tasks.lm_eval import fields, includes
from milepost.tasks.lm_eval.catalog import load_catalog
from milepost.tasks.lm_eval.chance import chance_levels
from milepost.tasks.lm_eval.checks import check_tasks
from milepost.tasks.lm_eval.includes import read_config
from milepost.tasks.lm_eval.loading import load_tasks
from milepost.tasks.lm_eval.requests import build_requests
from milepost.tasks.lm_eval.task_files import configs_of
from milepost.tasks.settings import TaskSettings
from milepost.types.requests import Request
from tests.run.own_tasks import write_tasks

MARK = "PWNED"
ESCAPE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
HIDDEN = "{{ question|attr('__class__') }}"
"""Seen only when it is rendered."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stranger's files go; nothing in the working folder may be called PWNED afterwards."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "tasks"
    place.mkdir()
    (place / "evil.py").write_text(f"import os\nos.system('touch {tmp_path}/{MARK}')\nf = str\n")
    docs = [
        {"question": f"q{n}", "choices": ["a", "b"], "label": n % 2, "text": "some text"} for n in range(4)
    ]
    (place / "data.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    return place


def config(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "task": "t",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "data.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_target": "label",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}],
        **changes,
    }


def write(path: Path, content: dict[str, Any], replaced: dict[str, str] | None = None) -> None:
    text = yaml.safe_dump(content, sort_keys=False)
    for old, new in (replaced or {}).items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def build(folder: Path, name: str = "t", **given: Any) -> list[Request]:
    """Load and render everything that a run does; the requests."""
    loaded = load_tasks(TaskSettings(names=(name,), include_path=folder, **given))
    requests = [request for of_task in build_requests(loaded) for request in of_task.requests]
    for task in loaded.tasks:
        chance_levels(loaded, task)
    return requests


def refused(folder: Path, name: str = "t", **given: Any) -> TaskError:
    with pytest.raises(TaskError) as caught:
        build(folder, name, **given)
    assert not (folder.parent / MARK).exists()
    assert caught.value.message.isprintable()
    return caught.value


TABLES: list[tuple[type, Any, set[str]]] = [
    (TaskConfig, fields.TASK_FIELDS, set()),
    (FewshotConfig, fields.FEWSHOT_FIELDS, set()),
    (GroupConfig, fields.GROUP_FIELDS, set()),
    (AggMetricConfig, fields.AGGREGATE_FIELDS, set()),
]


@pytest.mark.parametrize(("lm_evals", "ours", "_"), TABLES, ids=[table[0].__name__ for table in TABLES])
def test_every_key_of_lm_eval_is_in_the_table(lm_evals: type, ours: Any, _: set[str]) -> None:
    """A new version's new key fails here until somebody has decided what a stranger may write there."""
    assert {field.name for field in dataclasses.fields(lm_evals)} == set(ours)


def test_every_place_where_lm_eval_renders_a_template_is_known() -> None:
    """All through `utils.apply_template`, which is replaced; another environment would fail here."""
    for module in (lm_eval.api.task, lm_eval.prompts):
        source = inspect.getsource(module)
        assert not re.search(r"from_string|Environment\(|Template\(|import apply_template|\benv\b", source)
    called = re.findall(
        r"apply_template\(\s*(?:self\.config\.)?(\w+)", inspect.getsource(lm_eval.api.task.ConfigurableTask)
    )
    rendered = {key for key, field in fields.TASK_FIELDS.items() if field.is_template}
    resolved = re.findall(r"resolve_field\(\s*doc,\s*([\w.]+)", inspect.getsource(lm_eval.api.task))
    assert {name.rpartition(".")[2] for name in (*called, *resolved)} - {"field"} == rendered


@pytest.mark.parametrize("key", [*fields.TASK_FIELDS, "class", "include"])
@pytest.mark.parametrize("tag", ["!function evil.f", "!<!function> evil.f", "!f%75nction evil.f"])
def test_code_is_refused_in_every_key(folder: Path, key: str, tag: str) -> None:
    write(folder / "t.yaml", config(folder, **{key: "MARKED"}) | {"task": "t"})
    (folder / "t.yaml").write_text((folder / "t.yaml").read_text().replace("MARKED", tag))
    if key == "task":
        (folder / "t.yaml").write_text(f"task: {tag}\n")
    assert "t.yaml" in refused(folder).message


@pytest.mark.parametrize("key", [key for key, field in fields.TASK_FIELDS.items() if not field.kinds])
def test_a_key_for_code_takes_only_code(folder: Path, key: str) -> None:
    write(folder / "t.yaml", config(folder, **{key: "os.system"}))
    assert key in refused(folder).message


TEMPLATES = [key for key, field in fields.TASK_FIELDS.items() if field.is_template]
FEWSHOT = [f"fewshot_config.{key}" for key, field in fields.FEWSHOT_FIELDS.items() if field.is_template]


@pytest.mark.parametrize("key", [*TEMPLATES, *FEWSHOT])
@pytest.mark.parametrize("where", ["task", "member", "group", "inline"])
def test_every_template_is_checked_in_every_place(folder: Path, key: str, where: str) -> None:
    outer, _, inner = key.partition(".")
    change = {outer: {inner: ESCAPE}} if inner else {outer: ESCAPE}
    plain = config(folder)
    if where == "task":
        write(folder / "t.yaml", plain | change)
    else:
        write(folder / "m.yaml", plain | {"task": "m"})
        group: dict[str, Any] = {"group": "t", "task": ["m"]}
        if where == "member":
            group["task"] = [{"task": "m", **change}]
        elif where == "group":
            group |= change
        else:
            group["task"] = [plain | change | {"task": "n"}]
        write(folder / "t.yaml", group)
    assert outer in refused(folder).message


@pytest.mark.parametrize("key", [key for key in TEMPLATES if key not in ("doc_to_image", "doc_to_audio")])
def test_every_template_is_rendered_in_the_sandbox(folder: Path, key: str) -> None:
    change = {key: HIDDEN, "should_decontaminate": True, "num_fewshot": 1, "fewshot_split": "test"}
    write(folder / "t.yaml", config(folder, **change))
    run: Callable[[], Any] = partial(build, folder)
    if key == "doc_to_decontamination_query":
        task = load_tasks(TaskSettings(names=("t",), include_path=folder)).tasks["t"]
        run = partial(task.doc_to_decontamination_query, task.eval_docs[0])
    with pytest.raises(Exception, match="unsafe"):
        run()
    assert not (folder.parent / MARK).exists()


def test_untrusted_templates_stay_in_the_sandbox_in_later_calls(folder: Path) -> None:
    hidden = "{{ ['x', 'y'] if text == 'some text' else text|attr('__class__') }}"
    write(folder / "t.yaml", config(folder, doc_to_choice=hidden))
    loaded = load_tasks(TaskSettings(names=("t",), include_path=folder))
    task = loaded.tasks["t"]
    with pytest.raises(Exception, match="unsafe"):
        task.doc_to_choice({"question": "q", "choices": [], "label": 0, "text": "another"})


METRICS: dict[str, Any] = {
    "path": [{"metric": "./evil", "aggregation": "mean"}],
    "absolute": [{"metric": "/tmp/evil", "aggregation": "mean"}],
    "hub": [{"metric": "somebody/evil"}],
    "hf_evaluate": [{"metric": "acc", "hf_evaluate": True}],
    "with_results": [{"metric": "acc"}, {"metric": "evil", "aggregation": "mean", "higher_is_better": True}],
    "aggregation": [{"metric": "acc", "aggregation": "os.system"}],
}


@pytest.mark.parametrize("metrics", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("where", ["task", "member", "group", "inline", "nested"])
def test_foreign_metrics_are_refused_in_every_place(folder: Path, metrics: Any, where: str) -> None:
    (folder.parent / "evil").mkdir()
    (folder.parent / "evil" / "evil.py").write_text((folder / "evil.py").read_text())
    plain = config(folder)
    write(folder / "m.yaml", plain | {"task": "m"})
    change = {"metric_list": metrics}
    content = {
        "task": plain | change,
        "member": {"group": "t", "task": [{"task": "m", **change}]},
        "group": {"group": "t", "task": ["m"], **change},
        "inline": {"group": "t", "task": [plain | change | {"task": "n"}]},
        "nested": {"group": "t", "task": [{"group": "g", "task": [plain | change | {"task": "n"}]}]},
    }[where]
    write(folder / "t.yaml", content)
    assert ".yaml" in refused(folder).message


DATA: dict[str, dict[str, Any]] = {
    "script": {"dataset_path": "./evil.py"},
    "pickle": {"dataset_path": "pandas", "dataset_kwargs": {"data_files": {"test": "x.pkl"}}},
    "webdataset": {"dataset_path": "webdataset"},
    "storage_options": {"dataset_kwargs": {"data_files": "d.jsonl", "storage_options": {"fo": "x"}}},
    "reference": {"dataset_kwargs": {"data_files": {"test": "reference://x"}}},
    "chained": {"dataset_kwargs": {"data_files": {"test": ["zip://a.json::http://host/x.zip"]}}},
    "shell": {"dataset_kwargs": {"data_files": "ssh://host/x"}},
    "data_dir": {"dataset_kwargs": {"data_dir": "github://a:b@/x"}},
    "cache_dir": {"dataset_kwargs": {"cache_dir": "/tmp/x"}},
    "token": {"dataset_kwargs": {"token": "x"}},
    "custom_dataset": {"custom_dataset": "os.system"},
    "unsafe_code": {"unsafe_code": True},
    "promptsource": {"use_prompt": "promptsource:x"},
    "prompt file": {"use_prompt": "p.yaml:x"},
    "custom filter": {"filter_list": [{"name": "f", "filter": [{"function": "custom", "filter_fn": "f"}]}]},
    "sampler": {"fewshot_config": {"sampler": "evil.f"}, "fewshot_split": "test"},
    "class": {"class": "os.system"},
}  # fmt: skip


@pytest.mark.parametrize("change", DATA.values(), ids=DATA)
@pytest.mark.parametrize("where", ["task", "member"])
def test_readers_filters_and_prompts_that_could_run_code_are_refused(
    folder: Path, change: dict[str, Any], where: str
) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {folder.parent}/{MARK}",)

    (folder.parent / "x.pkl").write_bytes(pickle.dumps(Runs()))
    if where == "task":
        write(folder / "t.yaml", config(folder, **change))
    else:
        write(folder / "m.yaml", config(folder, task="m"))
        write(folder / "t.yaml", {"group": "t", "task": [{"task": "m", **change}]})
    assert ".yaml" in refused(folder).message


def test_untrusted_files_cannot_set_parameters_of_lm_evals_code(folder: Path) -> None:
    """`ruler` loads the tokenizer that its metadata names, with that tokenizer's code."""
    for change in ({"metadata": {"tokenizer": "./evil"}}, {"dataset_kwargs": {"x": 1}}):
        write(folder / "t.yaml", {"group": "t", "task": [{"task": "niah_single_1", **change}]})
        assert "t.yaml" in refused(folder).message
        write(folder / "t.yaml", {"group": "t", "task": ["niah_single_1"], "dataset_path": "json"})
        assert "t.yaml" in refused(folder).message


def test_a_folder_with_the_name_of_a_metric_does_not_run_in_its_place(folder: Path) -> None:
    """`evaluate.load` prefers ./squad_v2/squad_v2.py to the Hub's metric."""
    (folder.parent / "squad_v2").mkdir()
    (folder.parent / "squad_v2" / "squad_v2.py").write_text((folder / "evil.py").read_text())
    error = refused(folder, "squadv2")
    assert "squad_v2.py would run in its place" in error.message


def test_links_and_includes_are_read_from_the_same_places_as_in_lm_eval(folder: Path) -> None:
    """The include beside the link's target runs code; one of that name beside the link does not."""
    there = folder.parent / "there"
    there.mkdir()
    write(there / "t.yaml", config(folder) | {"include": "part.inc"})
    (there / "part.inc").write_text("process_docs: !function evil.f\n")
    (there / "evil.py").write_text((folder / "evil.py").read_text())
    (folder / "part.inc").write_text("num_fewshot: 0\n")
    (folder / "t.yaml").symlink_to(there / "t.yaml")
    assert "part.inc, line 1" in refused(folder).message


def test_a_later_include_wins_as_in_lm_eval(folder: Path) -> None:
    from lm_eval.tasks._yaml_loader import load_yaml

    write(folder / "t.yaml", {"include": ["a.inc", "b.inc"], **config(folder)})
    (folder / "a.inc").write_text("num_fewshot: 1\nrepeats: 2\ntask_list: [x]\n")
    (folder / "b.inc").write_text("num_fewshot: 3\ntask: other\n")
    assert dict(read_config(folder / "t.yaml").content) == load_yaml(folder / "t.yaml")
    assert read_config(folder / "t.yaml").content["num_fewshot"] == 3


def test_lm_evals_files_are_read_as_by_lm_eval() -> None:
    from lm_eval.tasks._yaml_loader import load_yaml

    catalog = load_catalog()
    names = ["arc_easy", "mmlu_anatomy", "gsm8k", "hellaswag", "mmlu", "niah_single_1", "squadv2", "belebele"]
    for entry, ours in configs_of(names, catalog):
        theirs = load_yaml(str(entry.path), resolve_func=False)
        as_text = json.loads(json.dumps(ours.content, default=str))
        assert as_text == json.loads(json.dumps(theirs, default=str)), entry.path


@pytest.mark.parametrize("moment", ["after the check", "between two readings"])
def test_a_file_that_changes_after_the_check_is_not_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    good = config(folder)
    write(folder / "t.yaml", good)
    evil = yaml.safe_dump(good).replace("'{{question}}'", "!function evil.f")
    assert "!function" in evil
    readings = 0
    original = includes.read_task_file

    def then_changed(path: Path) -> Any:
        nonlocal readings
        readings += 1
        file = original(path)
        if readings >= (2 if moment == "after the check" else 1):
            (folder / "t.yaml").write_text(evil)
        return file

    monkeypatch.setattr(includes, "read_task_file", then_changed)
    with contextlib.suppress(TaskError):
        build(folder)
    assert not (folder.parent / MARK).exists()
    assert readings >= 2


def test_allowed_code_runs_in_its_current_version(folder: Path) -> None:
    """Two writes within one tick of the clock, and one size: neither lm_eval nor Python would notice."""
    write(folder / "t.yaml", config(folder), {"'{{question}}'": "!function own.text"})

    def first_prompt() -> tuple[str, str]:
        settings = TaskSettings(names=("t",), include_path=folder, allow_task_code=True)
        (requests,) = build_requests(load_tasks(settings))
        return requests.requests[0].context, check_tasks(settings).digest

    (folder / "own.py").write_text("def text(doc):\n    return 'one'\n")
    stamp = (folder / "own.py").stat()
    before = first_prompt()
    (folder / "own.py").write_text("def text(doc):\n    return 'two'\n")
    os.utime(folder / "own.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    after = first_prompt()
    assert (before[0], after[0]) == ("one", "two")
    assert before[1] != after[1]


def test_data_that_changes_within_a_tick_of_the_clock_is_read_again(folder: Path) -> None:
    write(folder / "t.yaml", config(folder))

    def first_prompt() -> str:
        (requests,) = build_requests(load_tasks(TaskSettings(names=("t",), include_path=folder)))
        return requests.requests[0].context

    data = folder / "data.jsonl"
    stamp = data.stat()
    assert first_prompt() == "q0"
    data.write_text(data.read_text().replace("q0", "Q0"))
    os.utime(data, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert first_prompt() == "Q0"


def test_harmless_files_give_requests(tmp_path: Path) -> None:
    own = write_tasks(tmp_path / "own")
    assert {request.kind for request in build(own, "farm")} == {"loglikelihood"}
    assert {request.kind for request in build(own, "prose")} == {"loglikelihood_rolling"}
