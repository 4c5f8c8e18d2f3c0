"""Try a few of the examples of `make fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import loop
from tests.fuzz.loop import KINDS, Report, fuzz, try_example

EXAMPLES = [("parity", 3), ("parity", 12), ("parity", 24), ("damage", 1), ("damage", 5)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize(("kind", "number"), EXAMPLES)
def test_an_example_holds(kind: str, number: int, work: Path) -> None:
    failed = try_example(kind, number, work, work / "failures", Report(0))
    assert failed is None, failed


def test_every_statistic_is_what_another_way_gives(work: Path) -> None:
    report = fuzz(200, 0, 60, work, work / "failures", turns=("statistics",), say=print)
    assert report.failed == []
    assert len(report.outcomes) == 7


def test_a_failure_keeps_its_files_and_says_how_to_repeat_it(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(number: int, place: Path) -> str:
        (place / "task.yaml").write_text("task: t\n")
        raise AssertionError(f"nothing is right about {number}")

    monkeypatch.setitem(KINDS, "parity", wrong)
    lines: list[str] = []
    report = fuzz(3, 8, 60, work, work / "failures", turns=("parity",), say=lines.append)
    assert [failed.number for failed in report.failed] == [8, 9, 10]
    assert (work / "failures" / "parity-9" / "task.yaml").is_file()
    assert "nothing is right about 9" in (work / "failures" / "parity-9" / "error.txt").read_text()
    assert report.failed[1].repeat == "MILEPOST_FUZZ_ONLY=parity:9 make fuzz"
    assert any("parity:10" in line for line in lines)
    assert report.as_json()["seed"] == 8


def test_the_time_is_kept(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loop.KINDS, "parity", lambda number, place: "llama, bytes, packed: 1 requests")
    report = fuzz(10, 0, -1.0, work, work / "failures", turns=("parity",), say=print)
    assert not report.examples
