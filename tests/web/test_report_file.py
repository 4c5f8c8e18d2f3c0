"""Reports as one file: whole, offline, escaped."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path
from typing import Any

import pytest

from milepost.analysis import rows
from milepost.errors import ResultsError
from milepost.report.chart_files import chart_page
from milepost.report.charts.curves import curve
from milepost.web.report_file import open_view, report_html
from tests.analysis.made import measurement, mmlu, perplexity, write_results

NASTY = "<script>alert(1)</script>&{{7*7}}"


class Reader(html.parser.HTMLParser):
    """Collects what a browser would fetch, the number of scripts, and the text outside of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[Any] = []
        self.scripts = 0
        self.text: list[str] = []
        self._inside: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._inside = tag
        self.scripts += tag == "script"
        self.fetched += [value for name, value in attrs if name in ("src", "href") and value[:1] != "#"]

    def handle_data(self, data: Any) -> None:
        if self._inside not in ("script", "style"):
            self.text.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("report")
    found = mmlu([1000, 2000], subjects=4)
    found += [perplexity(value=20.0 - s / 1000, step=s) for s in (1000, 2000)]
    found += [measurement(task=NASTY, step=1000), measurement(task="__proto__", step=2000, value=None)]
    return report_html(open_view(write_results(folder / "results", found)))


def test_a_report_fetches_nothing(report: str) -> None:
    assert Reader(report).fetched == []
    assert "@import" not in report
    assert not re.search(r"url\(\s*['\"]?https?:", report)


def test_names_from_outside_stay_text(report: str) -> None:
    page = Reader(report)
    assert NASTY in page.text
    assert "alert(1)</script>" not in report


def test_a_report_holds_charts_tables_and_how_it_was_measured(report: str) -> None:
    text = " ".join(Reader(report).text)
    assert 'class="plot" role="img"' in report
    assert "window.vegaEmbed" in report
    assert "2 checkpoints, steps 1k to 2k" in text
    assert "* 18.000" in text
    assert "mmlu_subject_03" in text
    assert "lm_eval 0.4.13" in text
    assert "runs/<b>&co" in text
    assert "baber/piqa" in text


def test_a_chart_page_has_its_title_once_and_its_marks_explained() -> None:
    values = ((1, 0.3), (2, 0.7))
    page = chart_page(curve(rows([measurement(step=s, value=v) for s, v in values]), title="A & B"))
    text = Reader(page).text
    assert text.count("A & B") == 2  # the window's title and the heading
    assert "shaded: 95 % interval · dashed: chance · ringed: best" in text
    assert "<caption>" not in page


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no measurement yet"):
        open_view(write_results(tmp_path / "results", []))


def test_a_report_of_27_checkpoints_and_60_tasks_can_be_mailed(tmp_path: Path) -> None:
    steps = list(range(1000, 28_000, 1000))
    results = write_results(tmp_path / "results", mmlu(steps, subjects=57))
    report = report_html(open_view(results)).encode()
    assert len(report) < 3_000_000
    assert report.count(b"from_chance") >= 27 * 57  # each cell of the heat map
