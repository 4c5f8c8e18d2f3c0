"""Small task files that would take endless memory or time are refused quickly, in one line."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path
from typing import Any

import jinja2
import pytest
from lm_eval import utils

from milepost.tasks.lm_eval.templates import rendering, worker
from milepost.tasks.lm_eval.templates.sandbox import TooMuch, is_simple, make_sandbox, parse
from milepost.tasks.lm_eval.yaml_file import read_task_file
from tests.tasks.lm_eval.test_trust import build, config, refused, write

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name}\n  <<: [{','.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML = {
    "aliases of aliases": LAUGHS + "task: t\n",
    "merges of merges": MERGES + "task: t\n",
    "deep lists": "task: t\na: " + "[" * 100_000,
    "deep mappings": "task: t\na: " + "{a: " * 100_000,
    "itself": "task: t\na: &a [*a]\n",
    "a long number": "task: t\na: " + "9" * 1_000_000,
    "a number in base 60": "task: t\na: " + "1:" * 1_000_000 + "1",
    "many values": "task: t\na: [" + "1," * 600_000 + "]",
    "a large file": "task: t\n#" + "x" * 11_000_000,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tests.tasks.lm_eval.test_trust import folder as made

    return made.__wrapped__(tmp_path, monkeypatch)


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_yaml_that_grows_is_refused(folder: Path, text: str) -> None:
    (folder / "t.yaml").write_text(text)
    began = time.monotonic()
    assert "t.yaml" in refused(folder).message
    assert time.monotonic() - began < 30  # a guard against minutes, no measurement


def test_a_pipe_or_device_in_place_of_a_task_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "t.yaml")
    assert "not a regular file" in refused(folder).message
    (folder / "t.yaml").unlink()
    (folder / "t.yaml").symlink_to("/dev/zero")
    assert "not a regular file" in refused(folder).message


def test_a_pipe_as_an_include_or_a_module_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "part.inc")
    write(folder / "t.yaml", config(folder) | {"include": "part.inc"})
    assert "not a regular file" in refused(folder).message
    os.mkfifo(folder / "own.py")
    write(folder / "t.yaml", config(folder), {"'{{question}}'": "!function own.f"})
    assert "own.py" in refused(folder, allow_task_code=True).message


ENDLESS = {
    "loops": "{% for i in range(9999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x",
    "backtracking": "{{ ('a' * 40 + '!')|regex_replace('(a+)+$', 'x') }}",
    "lipsum": "{{ lipsum(n=100000000) }}",
}
LARGE = {
    "product": "{{ 'a' * 3000000000 }}",
    "list": "{{ ['a'] * 3000000000 }}",
    "doubling": "{% set s = namespace(x=question) %}{% for i in range(60) %}"
    "{% set s.x = s.x ~ s.x %}{% endfor %}",
    "padding": "{{ question.ljust(10 ** 11) }}",
    "filter": "{{ question|center(10 ** 11) }}",
    "format": "{{ '%9999999999d' % 1 }}",
    "str.format": "{{ '{:>9999999999}'.format(1) }}",
    "output": "{% for i in range(100000) %}{{ 'x' * 100000 }}{% endfor %}",
    "simple output": "{% for c in range_ %}{{ question }}{{ question }}{% endfor %}",
    "power": "{{ 9 ** 99999999 }}",
    "text": "{#" + "x" * 300_000 + "#}",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A rendering process that gives up after a second."""
    monkeypatch.setattr(worker, "MOST_SECONDS", 1.0)
    monkeypatch.setattr(rendering, "_START", f"from {worker.__name__} import main; main(1.0)")
    own = rendering.Worker()
    monkeypatch.setattr(rendering, "_worker", lambda: own)
    yield own
    own.stop()


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_template_is_stopped(impatient: Any, template: str) -> None:
    with pytest.raises(TooMuch, match="more than 1 s"):
        rendering.render_untrusted(template, {"question": "q"})
    assert rendering.render_untrusted("{% set x = question %}{{ x }}", {"question": "after"}) == "after"


@pytest.mark.parametrize("template", LARGE.values(), ids=LARGE)
def test_a_template_that_fills_the_memory_is_stopped(template: str) -> None:
    doc = {"question": "q" * 1000, "range_": list(range(20_000))}
    with pytest.raises(TooMuch):
        rendering.render_untrusted(template, doc)


ESCAPES = (
    "{{ ''.__class__.__mro__ }}",
    "{{ question|attr('__class__') }}",
    "{{ '{0.__class__}'.format(question) }}",
    "{{ '{x.__class__}'.format_map({'x': question}) }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% from 'x' import y %}",
    "{{ (question|attr)('__class__') }}",
    "{{ ['__class__']|map('attr')|list }}",
    "{{ [question]|map(attribute='__class__')|list }}",
    "{{ ().__class__.__base__ }}",
    "{{ joiner.__init__ }}",
    "{{ question.strip.__self__.__class__ }}",
)


@pytest.mark.parametrize("template", ESCAPES)
def test_no_template_reaches_python(template: str) -> None:
    try:
        shown = rendering.render_untrusted(template, {"question": "q"})
    except (jinja2.TemplateError, ValueError):
        return
    assert "class" not in shown
    assert "uid=" not in shown


SAME = (
    "{{ question }}",
    "Q: {{ question.strip() }}\nA:",
    "{% for c in choices %}{{ loop.index }}. {{ c }}\n{% endfor %}",
    "{% set x = [] %}{% for c in choices %}{% set _ = x.append(c) %}{% endfor %}{{ x }}",
    "{{ choices }}",
    "{{ ['A', 'B'][label] }}",
    "{{ question|replace('q', 'p')|upper }}",
    "{{ question[0]|title }}\n\n",
    "{% if label == 1 %}one{% else %}other{% endif %}",
    "{{ choices|join(', ') }}",
    "{{ 2 ** 10 }}",
    "{{ question|regex_replace('[aeiou]', '_') }}",
    "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(question) }}",
    "{{ '%03d' % label }}",
    "{{ question ~ '!' }}",
    "{%- raw %}{{ x }}{% endraw %}",
    "{{ choices[label] if true }}",
)


@pytest.mark.parametrize("template", SAME)
def test_a_harmless_template_gives_what_lm_eval_gives(template: str) -> None:
    doc = {"question": "  what? é", "choices": ["yes", "no"], "label": 1}
    assert rendering.render_untrusted(template, doc) == utils.apply_template(template, doc)


def test_the_sandbox_otherwise_equals_lm_evals_environment() -> None:
    own, theirs = make_sandbox(), utils.env
    assert own.undefined is theirs.undefined
    for name in ("keep_trailing_newline", "trim_blocks", "lstrip_blocks", "autoescape", "newline_sequence"):
        assert getattr(own, name) == getattr(theirs, name)
    assert own.filters.keys() == theirs.filters.keys()
    assert own.tests.keys() == theirs.tests.keys()


def test_usual_templates_are_rendered_in_this_process() -> None:
    sandbox = make_sandbox()
    assert all(is_simple(parse(sandbox, text)) for text in SAME[:3])
    assert not is_simple(parse(sandbox, ENDLESS["loops"]))


def test_choices_that_are_not_a_list_or_too_long_are_refused(folder: Path) -> None:
    for choices in ("{{question}}", "[" * 5000, "{{ ['x' * 1000] * 2000 }}", "['a', open('x')]"):
        write(folder / "t.yaml", config(folder, doc_to_choice=choices))
        assert "task t" in refused(folder).message


def packed(folder: Path) -> None:
    with gzip.open(folder / "data.jsonl.gz", "wb") as file:
        for _ in range(300):
            file.write(b"\0" * 1_000_000)


def sparse(folder: Path) -> None:
    with open(folder / "data.jsonl", "wb") as file:
        file.truncate(1 << 40)


def pipe(folder: Path) -> None:
    (folder / "data.jsonl").unlink()
    os.mkfifo(folder / "data.jsonl")


def device(folder: Path) -> None:
    (folder / "data.jsonl").unlink()
    (folder / "data.jsonl").symlink_to("/dev/zero")


@pytest.mark.parametrize("spoil", [packed, sparse, pipe, device])
def test_data_that_is_not_a_file_or_fills_memory_or_disk_is_refused(folder: Path, spoil: Any) -> None:
    spoil(folder)
    name = "data.jsonl.gz" if spoil is packed else "data.jsonl"
    write(folder / "t.yaml", config(folder, dataset_kwargs={"data_files": {"test": str(folder / name)}}))
    assert name in refused(folder).message


def test_packed_data_of_usual_size_is_read(folder: Path) -> None:
    with gzip.open(folder / "data.jsonl.gz", "wb") as file:
        file.write((folder / "data.jsonl").read_bytes())
    files = {"test": str(folder / "data.jsonl.gz")}
    write(folder / "t.yaml", config(folder, dataset_kwargs={"data_files": files}))
    assert len(build(folder)) == 4 * 2


def test_groups_that_contain_themselves_or_too_many_tasks_are_refused(folder: Path) -> None:
    write(folder / "m.yaml", config(folder, task="m"))
    write(folder / "t.yaml", {"group": "t", "task": ["u"]})
    write(folder / "u.yaml", {"group": "u", "task": ["t"]})
    assert "member of itself" in refused(folder).message
    for number in range(30):
        below = [f"g{number + 1}"] * 2 if number < 29 else ["m", "m"]
        write(folder / f"g{number}.yaml", {"group": f"g{number}", "task": below})
    assert "has more than" in refused(folder, "g0").message


def test_usual_files_are_within_the_bounds(folder: Path) -> None:
    write(folder / "t.yaml", config(folder, metadata={"samples": [{"a": "x" * 100}] * 5000}))
    assert len(read_task_file(folder / "t.yaml").content["metadata"]["samples"]) == 5000
