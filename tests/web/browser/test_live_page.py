"""A page that is open while others write shows news within two seconds and keeps the reader's place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.analysis.made import mmlu, rising, write_results
from tests.web.browser.conftest import Watched, scroll, wait_for_charts

if TYPE_CHECKING:
    from playwright.sync_api import Route

SOON_MS = 2_000
PLACE = """() => {
  const summary = [...document.querySelectorAll("main details > summary")].pop();
  return { y: scrollY, top: summary.getBoundingClientRect().top, open: summary.parentNode.open,
           focus: document.activeElement.textContent };
}"""
TOLD = """() => new Promise((done) => {
  const events = new EventSource("/events");
  events.onmessage = ({ data }) => {
    if (String(JSON.parse(data).records) === document.body.dataset.records) return;
    events.close();
    done();
  };
})"""
"""Resolves once the server has told of records that are newer than the page's."""
Serve = Callable[..., str]
Browse = Callable[..., Watched]


def test_new_metrics_appear_without_a_reload(serve: Serve, browse: Browse, tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", mmlu([1000, 2000], subjects=40))
    page = browse(serve(results)).open("/")
    page.evaluate("window.stays = true")
    page.get_by_text("arc_easy").wait_for(state="detached")
    write_results(results, rising("arc_easy", [3000], low=0.5, high=0.5, n=90))
    page.get_by_text("arc_easy").first.wait_for(timeout=SOON_MS)
    assert page.evaluate("window.stays") is True


def test_a_choice_that_is_on_its_way_is_not_lost(serve: Serve, browse: Browse, tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", mmlu([1000, 2000], subjects=3))
    page = browse(serve(results)).open("/curves")
    wait_for_charts(page)
    held: list[Route] = []
    page.route("**/curves?*scale=log*", lambda route: held.append(route))
    with page.expect_request("**/curves?*scale=log*"):
        page.get_by_text("logarithmic").click()
    write_results(results, rising("arc_easy", [3000], low=0.5, high=0.5, n=90))
    page.evaluate(TOLD)
    held[0].continue_()
    page.wait_for_url("**scale=log**")
    page.get_by_text("arc_easy").first.wait_for(state="attached")
    assert page.get_by_label("logarithmic").is_checked()


def test_a_new_shard_is_on_every_page(
    real_results: Path, serve: Serve, browse: Browse, tmp_path: Path
) -> None:
    results = shutil.copytree(real_results, tmp_path / "results")
    for metrics in sorted((results / "store" / "metrics").rglob("*.json"))[-1:]:
        model = metrics.name.partition("-")[0]
        metrics.unlink()
    shards = sorted((results / "store" / "scores" / model).rglob("*.parquet"))
    kept = shutil.copy(shards[-1], tmp_path / "shard")
    shards[-1].unlink()
    url = serve(results)
    pages = [browse(url).open(name) for name in ("/", "/curves", "/questions", "/runs")]
    total = 3 * len(shards)
    for page in pages:
        page.locator("#progress").get_by_text(f"{total - 1}/{total}").wait_for()
    shutil.copy(kept, tmp_path / "whole")
    (tmp_path / "whole").rename(shards[-1])
    for page in pages:
        whole = page.locator("#progress").get_by_text(f"{total}/{total}")
        whole.wait_for(timeout=SOON_MS)
        assert whole.is_visible()


def test_a_new_shard_leaves_the_reader_in_peace(
    real_results: Path, serve: Serve, browse: Browse, tmp_path: Path
) -> None:
    results = shutil.copytree(real_results, tmp_path / "results")
    (metrics,) = sorted((results / "store" / "metrics").rglob("*.json"))[-1:]
    model = metrics.name.partition("-")[0]
    kept = metrics.rename(tmp_path / "metrics")
    shards = sorted((results / "store" / "scores" / model).rglob("*.parquet"))
    lost = shards[-1].rename(tmp_path / "shard")
    url = serve(results)
    small = {"width": 900, "height": 300}
    asking = browse(url, viewport=small).open("/questions?task=where")
    search = asking.get_by_label("Search")
    search.fill("the")
    asking.wait_for_url("**search=the**")
    wait_for_charts(asking)
    charts = browse(url, viewport=small).open("/curves?task=where")
    wait_for_charts(charts)
    charts.locator("summary", has_text="The values as a table").first.click()
    for page in (asking, charts):
        scroll(page, 150)
        page.evaluate("window.stays = true")
    before = [page.evaluate("scrollY") for page in (asking, charts)]
    total = 3 * len(shards)
    lost.rename(shards[-1])
    for page in (asking, charts):
        page.locator("#progress").get_by_text(f"{total}/{total}").wait_for(timeout=SOON_MS)
    kept.rename(metrics)
    charts.get_by_role("rowheader", name="30", exact=True).first.wait_for()
    assert asking.evaluate("document.activeElement.name") == "search"
    assert search.input_value() == "the"
    assert charts.locator("details.behind").first.evaluate("(one) => one.open")
    for page, was in zip((asking, charts), before, strict=True):
        assert page.evaluate("window.stays") is True
        assert abs(page.evaluate("scrollY") - was) < 60


def test_the_reader_stays_where_they_were(serve: Serve, browse: Browse, tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", mmlu([1000, 2000, 3000], subjects=57))
    page = browse(serve(results), viewport={"width": 1000, "height": 500}).open("/signal?all=1")
    wait_for_charts(page)
    ratings = page.locator("main details > summary").last
    ratings.click()
    scroll(page, 300)
    before = page.evaluate(PLACE)
    write_results(results, mmlu([1000, 2000, 3000, 4000], subjects=57))
    shown = page.locator('[aria-label$="4 checkpoints"]').first
    shown.wait_for(state="attached")
    after = page.evaluate(PLACE)
    assert before["y"] > 300
    assert abs(after["top"] - before["top"]) < 60
    assert after["focus"] == before["focus"]
    assert after["open"]
