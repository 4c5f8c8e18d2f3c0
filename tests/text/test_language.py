"""Texts in the reader's language, and a catalogue that lacks none."""

from __future__ import annotations

import ast
import json
import logging
import re
import string
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from milepost.errors import MilepostError
from milepost.report.blocks import Note
from milepost.report.html import page
from milepost.report.provenance import origin_lines
from milepost.run.config import EvalConfig
from milepost.run.display.screen_messages import ScreenFormatter
from milepost.run.executors.driver import Driver
from milepost.run.executors.worker import _Forwarding
from milepost.store.provenance import Provenance
from milepost.tasks.lm_eval.yaml_file import read_task_file
from milepost.text import language
from milepost.text.language import Phrase, _, ngettext, speaking, translated
from tests.analysis.made import mmlu, rising, write_results
from tests.cli.called import milepost
from translations import catalogue, extraction

CHINESE = "zh_CN.UTF-8"


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_LANG", CHINESE)


def test_a_text_within_an_f_string_is_found_by_every_python() -> None:
    code = b"""say(f"{name}: {Phrase('done')}")\nsay(_("begun"))\n"""
    found = {text for _line, _name, text, _comments in extraction.extract_python(BytesIO(code), {}, (), {})}
    assert found == {"done", "begun"}


@pytest.mark.parametrize("po", list(catalogue.catalogues()), ids=lambda path: path.parent.parent.name)
class TestEachCatalogue:
    def test_has_every_text_of_the_code_and_no_other(self, po: Path) -> None:
        """`make messages` brings it up to date; what it then lists as missing is to be translated."""
        known = {message.id for message in catalogue.read(po) if message.id}
        wanted = {message.id for message in catalogue.extracted() if message.id}
        assert known == wanted

    def test_has_a_translation_for_every_text(self, po: Path) -> None:
        assert catalogue.untranslated(catalogue.read(po)) == []

    def test_keeps_the_values_in_a_text(self, po: Path) -> None:
        """A placeholder may lose its format (`{n:,}`), but none may be missing or new."""
        wrong = [
            message.id
            for message in catalogue.read(po)
            if message.id and not message.fuzzy
            for form in ([message.string] if isinstance(message.string, str) else message.string)
            if _placeholders(form)
            != _placeholders(message.id if isinstance(message.id, str) else message.id[1])
        ]
        assert wrong == []

    def test_keeps_the_values_of_a_warning_in_their_order(self, po: Path) -> None:
        """Warnings are filled in with `%`, by position."""
        wrong = [
            message.id
            for message in catalogue.read(po)
            if isinstance(message.id, str) and _positions(str(message.string)) != _positions(message.id)
        ]
        assert wrong == []

    def test_is_the_one_that_the_package_reads(self, po: Path) -> None:
        assert po.with_suffix(".mo").read_bytes() == catalogue.as_mo(catalogue.read(po))


def _placeholders(text: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:  # a text without values may have single braces: JSON, YAML
        return set()


def _positions(text: str) -> list[str]:
    return re.findall(r"%(?:\.\d)?[sdfr]", text)


def test_an_error_is_told_in_chinese_and_stored_in_english(chinese: None) -> None:
    with pytest.raises(MilepostError) as raised:
        EvalConfig.from_options("runs", ["arc_easy"], output_path="out", dtype="float8")
    assert raised.value.message == "unknown dtype 'float8'"
    assert raised.value.for_reader()[0] == "未知的数据类型 'float8'"


def test_help_and_usage_follow_the_language_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    english = milepost("run", "--help").out
    monkeypatch.setenv("MILEPOST_LANG", CHINESE)
    chinese = milepost("run", "--help").out
    monkeypatch.delenv("MILEPOST_LANG")
    assert milepost("run", "--help").out == english
    assert "Score every checkpoint" in english
    assert "评测每个 SOURCE 的每个检查点" in chinese
    assert "用法" in chinese


def test_an_unknown_option_gets_a_chinese_hint(chinese: None) -> None:
    called = milepost("show", "--nonsense")
    assert called.status == 2
    assert called.err.startswith("错误：没有选项")
    assert "提示：" in called.err


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh_CN"),
        ({"LANG": "zh_CN.GBK"}, "zh_CN"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "MILEPOST_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "MILEPOST_LANG": "zh"}, "zh_CN"),
    ],
)
def test_the_environment_chooses_the_language(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in language.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language.language() == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh_CN"),
        ("en-GB,en;q=0.9,zh;q=0.1", "en"),
        ("fr,zh;q=0.5,en;q=0.4", "zh_CN"),
        ("fr;q=x,*", "en"),
        ("", "en"),
    ],
)
def test_a_web_request_chooses_its_own_language(wanted: str, expected: str) -> None:
    with speaking(wanted):
        assert language.language() == expected
        assert (_("Commands") == "命令") == (expected == "zh_CN")


def test_values_are_put_into_the_translation(chinese: None) -> None:
    assert ngettext("{n} task.", "{n} tasks.", 3) == "3 个任务。"
    told = Phrase("error: {message}", message=Phrase("unknown dtype {dtype!r}", dtype="x"))
    assert told == "error: unknown dtype 'x'"
    assert translated(told) == "错误：未知的数据类型 'x'"


def test_names_of_the_user_are_not_translated(chinese: None) -> None:
    assert _("error: {message}", message="Commands") == "错误：Commands"


@pytest.mark.parametrize(
    "command", [["show", "--json"], ["show", "--csv"], ["status", "--json"], ["signal", "--json"]]
)
def test_what_programs_read_is_the_same_in_every_language(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    write_results(tmp_path, mmlu([1000, 2000, 3000], subjects=3))
    english = milepost(command[0], tmp_path, *command[1:])
    monkeypatch.setenv("MILEPOST_LANG", CHINESE)
    assert milepost(command[0], tmp_path, *command[1:]).out == english.out
    assert english.out


def test_no_record_and_no_json_passes_through_the_catalogue() -> None:
    """The rooms that store and compute do not translate: an error's text is English until it is printed."""
    package = Path(language.__file__).parents[1]
    wrong = [
        f"{path.relative_to(package)}: {name.name}"
        for room in ("store", "analysis", "plan", "engine", "weights")
        for path in (package / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "milepost.text.language"
        for name in node.names
        if name.name not in ("Phrase", "joined")
    ]
    assert wrong == []


def test_reports_are_chinese_and_their_data_english(chinese: None, tmp_path: Path) -> None:
    results = write_results(
        tmp_path / "results", rising("docs", [100, 200, 300, 400], low=0.3, high=0.6, n=400)
    )
    shown = milepost("show", results)
    for text in ("步", "随机水平", "题数", "各曲线表明了什么", "± 是 95 % 区间的一半"):
        assert text in shown.out
    assert "docs\n" in shown.out or "docs " in shown.out, "the name of a task is no word of ours"
    assert "值得关注" in milepost("signal", results).out
    summary = json.loads(milepost("show", results, "--json", "--summary").out)
    assert all(record["remark"].isascii() for record in summary)
    made = page("docs", [Note(Phrase("one checkpoint only")), "Commands"])
    assert '<html lang="zh-CN"' in made
    assert "只有一个检查点" in made
    assert "Commands" in made, "a text that is no phrase may be someone else's"
    assert "步" in milepost("show", results, "--markdown").out


def test_a_fault_in_a_task_file_and_its_hint_are_told_in_chinese(chinese: None, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("task: [")
    with pytest.raises(MilepostError) as raised:
        read_task_file(tmp_path / "bad.yaml")
    assert raised.value.hint == "correct this file, or move it out of the --include-path folder"
    assert raised.value.for_reader()[1] == "请更正此文件，或将其移出 --include-path 文件夹"


def test_no_error_for_people_is_put_together_where_it_cannot_be_translated() -> None:
    """An f-string is no text of the catalogue. Messages about the bytes of weight files stay English."""
    package = Path(language.__file__).parents[1]
    spoken = extraction.ERRORS | {"Finding", "options.error", "say", "tell", "print"}
    wrong = [
        f"{path.relative_to(package)}:{text.lineno}"
        for path in sorted(package.rglob("*.py"))
        if not path.relative_to(package).as_posix().startswith(("weights/", "sources/formats/"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in spoken
        for argument in node.args
        for text in _texts_put_together(argument)
    ]
    assert wrong == []


def _texts_put_together(value: ast.expr) -> Iterator[ast.JoinedStr]:
    """Yield the f-strings with a word in them that an argument is, or may be."""
    if isinstance(value, ast.IfExp):
        yield from _texts_put_together(value.body)
        yield from _texts_put_together(value.orelse)
    elif isinstance(value, ast.BinOp):
        yield from _texts_put_together(value.left)
        yield from _texts_put_together(value.right)
    elif isinstance(value, ast.JoinedStr):
        letters = [part for part in value.values if isinstance(part, ast.Constant)]
        if any(char.isalpha() for part in letters for char in str(part.value)):
            yield value


def test_the_findings_of_doctor_are_chinese_and_their_json_english(
    chinese: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    shown = milepost("doctor", tmp_path).out
    for text in ("正常", "个核心，内存", "镜像：未询问：HF_HUB_OFFLINE 已设置", "磁盘：results："):
        assert text in shown
    assert all(text.isascii() for text in milepost("doctor", tmp_path, "--json").out.splitlines())


def test_where_scores_come_from_is_told_in_columns_that_line_up_in_chinese(chinese: None) -> None:
    origin = Provenance(
        series="run", checkpoint="a", step=1, source="/a", scored_from=(), model_id="m", numerics="n",
        plan_id="p", engines=("packed",), devices=(), versions=(), first_scored=0.0, last_scored=60.0,
        n_shards=3,
    )  # fmt: skip
    _name, *lines = origin_lines([origin])
    assert "  plan_id    p（3 个分片）" in lines
    assert "  打分时间   1970-01-01 00:00:00 UTC 至 1970-01-01 00:01:00 UTC" in lines


def test_a_checkpoint_that_was_scored_is_not_called_a_time(chinese: None) -> None:
    assert (_("scored"), _("scored on")) == ("已打分", "打分时间")


def test_a_warning_of_a_worker_is_shown_in_the_readers_language_and_logged_in_english(
    chinese: None, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    why = "the same command has to be run again"
    record = logging.makeLogRecord(
        {"name": "milepost.run", "levelno": logging.WARNING, "msg": "%s is damaged and removed; %s",
         "args": ("a.json", Phrase(why))}
    )  # fmt: skip
    _Forwarding(told.append).emit(record)
    driver = object.__new__(Driver)
    logging.getLogger("milepost.run").propagate = True
    with caplog.at_level(logging.WARNING, "milepost.run"):
        driver._follow(0, told[0])
    (arrived,) = caplog.records
    assert arrived.getMessage() == f"a.json is damaged and removed; {why}"
    assert "a.json 已损坏" in ScreenFormatter().format(arrived)
