"""What a run says, where, and how often."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import pytest

from milepost.errors import MilepostError, StorageError
from milepost.run.display.journal import Journal, parse_level

LIBRARY = logging.getLogger("lm_eval.tasks")


@pytest.fixture(autouse=True)
def no_level_of_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LMEVAL_LOG_LEVEL", raising=False)


def test_levels_go_by_name() -> None:
    assert parse_level("info") == logging.INFO
    with pytest.raises(MilepostError, match="'loud'"):
        parse_level("loud")


def warn_of_subjects(n: int) -> None:
    for number in range(n):
        LIBRARY.warning("subject %d has no version", number)


def test_a_warning_repeated_for_57_subjects_is_said_once_with_its_count(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Journal():
        warn_of_subjects(57)
        LIBRARY.warning("something else")
    assert capsys.readouterr().err.splitlines() == [
        "warning: subject 0 has no version (and 56 more like it)",
        "warning: something else",
    ]


def test_warnings_are_shown_in_the_readers_language_and_logged_in_english(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILEPOST_LANG", "zh")
    ours = logging.getLogger("milepost.tasks")
    with Journal() as journal:
        for _ in range(2):
            ours.warning("%s is always 0-shot (its own file says so)", "gsm8k")
        LIBRARY.warning("something else")
        with journal.evaluation_log(tmp_path / "evaluation.log"):
            journal.say_collected()
    assert capsys.readouterr().err.splitlines() == [
        "警告：gsm8k 始终为 0-shot（其任务文件如此规定）（另有 1 条类似）",
        "警告：something else",
    ]
    logged = (tmp_path / "evaluation.log").read_text()
    assert "gsm8k is always 0-shot (its own file says so) (and 1 more like it)" in logged


def test_our_own_and_pythons_warnings_are_the_same_only_if_they_say_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Journal():
        for task in ("piqa", "rte", "piqa"):
            logging.getLogger("milepost.run").warning("%s is long", task)
        for what in ("old", "older"):
            warnings.warn(what, DeprecationWarning, stacklevel=1)
    said = capsys.readouterr().err
    assert "warning: piqa is long (and 1 more like it)" in said
    assert "warning: rte is long\n" in said
    assert "DeprecationWarning: old\n" in said
    assert "DeprecationWarning: older\n" in said


def test_files_and_processes_that_a_library_leaves_open_warn_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Journal():
        warnings.warn("subprocess 4711 is still running", ResourceWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    said = capsys.readouterr().err
    assert ("4711" in said, "DeprecationWarning: old" in said) == (False, True)


def test_each_checkpoints_log_has_the_warnings_of_the_preparation_and_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Journal() as journal:
        warn_of_subjects(3)
        journal.say_collected()
        for name in "ab":
            with journal.evaluation_log(tmp_path / name / "evaluation.log") as log:
                log.info("settings of %s", name)
                log.warning("zeros in %s", name)
    for name, other in ("ab", "ba"):
        text = (tmp_path / name / "evaluation.log").read_text("utf-8")
        assert text.count("subject 0 has no version (and 2 more like it)") == 1
        assert f"settings of {name}" in text
        assert f"zeros in {name}" in text
        assert f"zeros in {other}" not in text
    assert capsys.readouterr().err.count("no version") == 1


def test_loggers_and_filters_are_afterwards_as_they_were() -> None:
    library = logging.getLogger("lm_eval")
    before = library.level, library.propagate, list(library.handlers), list(warnings.filters)
    with Journal(logging.DEBUG) as journal, journal.timed("imported something"):
        library.addHandler(logging.NullHandler())  # as a library does that is imported only now
        warnings.simplefilter("ignore")
    late = [handler for handler in library.handlers if isinstance(handler, logging.NullHandler)]
    for handler in late:
        library.removeHandler(handler)
    assert len(late) == 1
    assert (library.level, library.propagate, library.handlers, list(warnings.filters)) == before


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Journal():
        LIBRARY.warning("a \x1b[31mred\x07 name")
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_on_a_full_disk_is_one_error_of_storage_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("milepost.store.safe_paths.append", lambda _: io.FileIO("/dev/full", "a"))

    def log_a_lot() -> None:
        with Journal() as journal, journal.evaluation_log(tmp_path / "evaluation.log") as log:
            for number in range(3):
                log.info("line %d", number)

    with pytest.raises(StorageError, match="No space left on device") as told:
        log_a_lot()
    assert told.value.is_full
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_opened_is_an_error_of_storage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def log_below_a_file() -> None:
        with Journal() as journal, journal.evaluation_log(tmp_path / "file" / "evaluation.log"):
            raise AssertionError("the block is not begun")

    with pytest.raises(StorageError, match=r"cannot write .*evaluation\.log"):
        log_below_a_file()
