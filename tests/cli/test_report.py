"""`milepost report`: one file, small enough to send, without a network; PDF where Chromium is; Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.analysis.made import mmlu, rising, write_results
from tests.cli.called import milepost

STEPS = [1000 * number for number in range(1, 28)]
MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("report") / "results", mmlu([1000, 2000], subjects=4))


def test_a_report_of_27_checkpoints_and_60_tasks_is_small_enough_to_send(tmp_path: Path) -> None:
    figures = [
        figure
        for number in range(60)
        for figure in rising(f"a_task_of_some_length_{number:02}", STEPS, low=0.25, high=0.6, n=1000)
    ]
    results = write_results(tmp_path / "results", figures)
    report = tmp_path / "report.html"
    said = json.loads(milepost("report", results, "-o", report, "--json").out)
    assert said == {"path": str(report), "format": "html", "bytes": report.stat().st_size}
    assert report.stat().st_size <= MOST_BYTES
    text = report.read_text("utf-8")
    assert 'id="subjects"' in text
    assert "http://www.w3.org" not in text.split("<script>")[0]


def test_markdown_is_printed_or_written(results: Path, tmp_path: Path) -> None:
    printed = milepost("report", results, "--format", "markdown").out
    assert "| step |" in printed
    milepost("report", results, "-o", tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text("utf-8").strip() == printed.strip()


def test_a_pdf_without_chromium_is_refused_with_a_way_out(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = milepost("report", results, "-o", tmp_path / "report.pdf")
    assert said.status == 2
    assert "needs Chromium or Chrome" in said.err
    assert not (tmp_path / "report.pdf").exists()


def test_results_without_metrics_and_unknown_endings_are_refused(results: Path, tmp_path: Path) -> None:
    empty = write_results(tmp_path / "results", [])
    assert "no measurement yet" in milepost("report", empty, "-o", tmp_path / "report.html").err
    assert "ends in `.docx`" in milepost("report", results, "-o", tmp_path / "report.docx").err
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
