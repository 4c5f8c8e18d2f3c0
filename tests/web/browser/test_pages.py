"""Pages in Chromium: they say what `show` says, draw their charts, keep choices in the address, show hostile
text as text.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from milepost.report.formatting import number
from milepost.web.pages import PAGES
from tests.analysis.made import measurement, write_results
from tests.cli.called import milepost
from tests.web.browser.conftest import PATIENCE_MS, Watched, chosen, wait_for_charts
from tests.web.test_serving import served

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202e{{7*7}}'\"</script>"
NAMES = [kind.name for kind in PAGES if kind.name != "question"]
"""The page of one question needs docs: test_real_results.py has it."""


@pytest.fixture(scope="module")
def hostile_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    figures = [
        measurement(task=HOSTILE, series=HOSTILE, step=step, checkpoint=f"{HOSTILE}-{step}")
        for step in (1, 2, 3)
    ]
    results = write_results(tmp_path_factory.mktemp("hostile") / "results", figures)
    with served(results) as (_, address):
        yield address


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_text(browse: Callable[..., Watched], hostile_url: str, name: str) -> None:
    page = browse(hostile_url).open(f"/{name}")
    wait_for_charts(page)
    assert page.locator("main img").count() == 0
    if name in ("overview", "curves"):
        text = page.locator("main").inner_text()
        assert "onerror=alert(1)>\\x1b[31m\\u202e{{7*7}}" in text


def test_the_overview_has_the_last_and_the_best_values_of_show(
    browse: Callable[..., Watched], url: str, made_results: Path
) -> None:
    page = browse(url).open("/overview")
    shown = json.loads(milepost("show", made_results, "--json", "--summary").out)
    assert shown
    for curve in shown:
        section = page.locator("section").filter(
            has=page.get_by_role("heading", name=curve["series"], exact=True)
        )
        card = section.locator(".card").filter(has=page.get_by_role("link", name=curve["task"], exact=True))
        assert card.locator(".figure b").inner_text() == number(curve["last"]["value"], curve["metric"])
        assert number(curve["best"]["value"], curve["metric"]) in card.locator("dl").inner_text()


def test_a_chart_has_the_table_behind_it_and_a_caption(
    browse: Callable[..., Watched], url: str, made_results: Path
) -> None:
    page = browse(url).open("/curves?task=arc_easy")
    figure = page.locator("figure.chart")
    wait_for_charts(page)
    assert figure.count() == 1
    assert "n = 500 docs · shaded: 95 % interval" in figure.locator("figcaption").inner_text()
    figure.locator("summary").click()
    rows = json.loads(milepost("show", made_results, "-t", "arc_easy", "--metric", "acc", "--json").out)
    cells = figure.locator("tbody tr").all_inner_texts()
    assert [cell.split()[0] for cell in cells] == [str(row["step"]) for row in rows]
    assert all(number(row["value"], "acc") in cell for cell, row in zip(cells, rows, strict=True))


def test_choices_zoom_and_the_pinned_step_are_in_the_address(
    browse: Callable[..., Watched], url: str
) -> None:
    page = browse(url).open("/curves")
    wait_for_charts(page)
    page.get_by_text("logarithmic").click()
    page.wait_for_url(re.compile("scale=log"))
    wait_for_charts(page)
    plot = page.locator(".plot").first
    plot.focus()
    page.keyboard.press("ArrowRight")
    assert chosen(page)["pin"] == ["1000"]
    assert "1000" in page.locator("#said").inner_text()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 320, box["y"] + 100, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile("from="))
    again = browse(url).open(f"/curves{page.evaluate('location.search')}")
    wait_for_charts(again)
    assert again.get_by_label("logarithmic").is_checked()
    plot.focus()
    page.keyboard.press("0")
    assert "from" not in chosen(page)


def test_what_is_seen_is_saved_as_png_svg_and_csv(
    browse: Callable[..., Watched], url: str, tmp_path: Path
) -> None:
    page = browse(url).open("/curves?task=arc_easy&from=1500&to=4100")
    wait_for_charts(page)
    saved: dict[str, bytes] = {}
    for kind in ("png", "svg", "csv"):
        with page.expect_download() as download:
            page.locator(f"[data-save={kind}]").click()
        download.value.save_as(tmp_path / kind)
        saved[kind] = (tmp_path / kind).read_bytes()
    assert saved["png"].startswith(b"\x89PNG")
    assert saved["svg"].startswith(b"<svg")
    rows = list(csv.DictReader(saved["csv"].decode().splitlines()))
    assert [row["step"] for row in rows] == ["2000", "3000", "4000"]


def test_a_wide_wall_has_no_empty_column(browse: Callable[..., Watched], url: str) -> None:
    page = browse(url, viewport={"width": 3840, "height": 2160}).open("/curves?task=mmlu&task=arc_easy")
    wait_for_charts(page)
    columns, charts = page.locator(".grid.large").evaluate(
        "(grid) => [getComputedStyle(grid).gridTemplateColumns, grid.children.length]"
    )
    assert charts >= 2
    assert len([width for width in columns.split() if width != "0px"]) <= charts


def test_the_menu_of_a_phone_shows_where_the_reader_is(browse: Callable[..., Watched], url: str) -> None:
    page = browse(url, viewport={"width": 390, "height": 800}).open("/runs")
    left, right = page.locator(".top nav [aria-current]").evaluate(
        "(here) => [here.getBoundingClientRect().left, here.getBoundingClientRect().right]"
    )
    assert 0 <= left < right <= 390


def test_a_table_sorts_and_the_address_keeps_the_order(browse: Callable[..., Watched], url: str) -> None:
    page = browse(url).open("/subjects")
    page.locator("summary").first.click()
    page.get_by_role("button", name="gain", exact=True).last.click()
    gains = page.locator("tbody tr td:last-child").all_inner_texts()
    values = [float(gain.replace("−", "-")) for gain in gains]
    assert values == sorted(values, reverse=True)
    assert chosen(page)["sort"] == ["0.4.descending"]


def test_the_theme_stays_as_it_was_chosen(browse: Callable[..., Watched], url: str) -> None:
    page = browse(url, color_scheme="light").open("/overview")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Light or dark").click()
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == dark


def test_pages_speak_chinese(browse: Callable[..., Watched], url: str) -> None:
    page = browse(url).open("/overview?lang=zh")
    assert page.locator("h1").inner_text() == "概览"
    assert page.evaluate("document.documentElement.lang").startswith("zh")


def test_a_report_opens_from_disk_with_its_charts(chromium: Any, made_results: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    milepost("report", made_results, "-o", report)
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE_MS)
    faults: list[str] = []
    page.on(
        "request", lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or faults.append(asked.url)
    )
    page.on("console", lambda said: said.type in ("error", "warning") and faults.append(said.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(report.as_uri())
    wait_for_charts(page)
    for name in ("overview", "curves", "subjects", "compare", "runs"):
        assert page.locator(f"section#{name}").count() == 1
    assert faults == []
    page.close()
