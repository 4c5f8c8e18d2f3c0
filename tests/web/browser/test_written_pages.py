"""Pages that commands write fit 1,280 pixels: each chart is drawn, and nothing scrolls sideways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from milepost.analysis import rows
from milepost.report.chart_files import chart_page
from milepost.report.charts.curves import curve
from milepost.report.charts.first_last import first_last
from milepost.report.charts.heat_map import heat_map
from milepost.report.charts.pick_bars import pick_bars
from milepost.report.comparison.report import comparison_page
from milepost.report.html import page
from milepost.report.table import Column, Table, cells
from tests.analysis.made import mmlu, perplexity, rising, write_results
from tests.cli.called import milepost
from tests.report.charts.test_comparison import study
from tests.report.charts.test_pick_bars import TEXTS, picks
from tests.web.browser.conftest import Watched, wait_for_charts

STEPS = [1000 * step for step in range(1, 21)]
LONG = "mmlu_high_school_european_history_generative_with_a_long_name"
MEASURED = [
    *mmlu(STEPS, subjects=12),
    *rising(LONG, STEPS, low=0.25, high=0.8, n=400),
    *[perplexity(value=4000.0 / step + 6, step=step) for step in STEPS],
]
CHARTS = {
    "curves": lambda: curve(rows(MEASURED), log_x=True),
    "heat map": lambda: heat_map(rows(MEASURED)),
    "bars": lambda: first_last(rows(MEASURED)),
    "picks": lambda: pick_bars(
        [picks(TEXTS, step=step, task=task) for task in ("a", LONG) for step in STEPS]
    ),
}


def fits(browse: Callable[..., Watched], folder: Path, html: str | Path) -> int:
    """Open a page with everything in it unfolded; return the number of its charts."""
    path = html if isinstance(html, Path) else folder / "page.html"
    if isinstance(html, str):
        path.write_text(html, encoding="utf-8")
    page = browse(f"file://{path}", viewport={"width": 1280, "height": 900}).open("")
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    wait_for_charts(page)
    widths = page.evaluate("[...document.querySelectorAll('.plot svg')].map((each) => each.clientWidth)")
    assert all(200 < width < 1280 for width in widths), widths
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    scrolls = (
        "[...document.querySelectorAll('.wide, .plot')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
    )
    assert page.evaluate(f"{scrolls}.map((e) => e.innerText.slice(0, 400))") == []
    return len(widths)


@pytest.mark.parametrize("kind", CHARTS)
def test_a_chart_as_a_page(browse: Callable[..., Watched], tmp_path: Path, kind: str) -> None:
    assert fits(browse, tmp_path, chart_page(CHARTS[kind]())) == 1


def test_the_report_of_a_comparison(browse: Callable[..., Watched], tmp_path: Path) -> None:
    assert fits(browse, tmp_path, comparison_page(study(n_tasks=6, n_texts=2, n_variants=2))) >= 2


def test_the_report_and_the_leaderboard_of_a_folder(browse: Callable[..., Watched], tmp_path: Path) -> None:
    measured = [one for one in MEASURED if one.task != LONG]  # a column per task is as wide as its name
    results = write_results(tmp_path / "results", measured)
    for command, charts in (("report", 2), ("leaderboard", 0)):
        written = tmp_path / f"{command}.html"
        assert milepost(command, results, "-o", written).status == 0
        assert fits(browse, tmp_path, written) >= charts


def test_intervals_go_below_their_numbers_where_a_table_is_too_wide(
    browse: Callable[..., Watched], tmp_path: Path
) -> None:
    """The leaderboard of the demo's recipe at 1,280 px: its last column was cut."""
    names = ("win rate", "rank", "normalised", "min-max sum", "world", "world_cloze", "world_letters")
    row = cells(
        [
            "narrow-llama (checkpoint-800)",
            *["0.750 [0.500, 1.000]"] * 4,
            *["0.9552"] * 3,
            "6.7055",
        ]
    )
    heads = (
        Column("model", align="left"),
        *map(Column, names),
        Column("text", "world_text\nword_perplexity ↓"),
    )
    assert fits(browse, tmp_path, page("Leaderboard", [Table(heads, (row, row))])) == 0
