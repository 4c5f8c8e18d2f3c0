"""A page that is open while others write to the folder shows what is new and keeps the reader's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.analysis.made import mmlu, rising, write_results
from tests.web.browser.conftest import Watched

SOON_MS = 2_000


def test_new_metrics_appear_without_a_reload(
    serve: Callable[[Path], str], browse: Callable[..., Watched], tmp_path: Path
) -> None:
    results = write_results(tmp_path / "results", mmlu([1000, 2000], subjects=40))
    page = browse(serve(results)).open("/")
    page.evaluate("window.stays = true")
    page.get_by_text("arc_easy").wait_for(state="detached")
    write_results(results, rising("arc_easy", [3000], low=0.5, high=0.5, n=90))
    page.get_by_text("arc_easy").first.wait_for(timeout=SOON_MS)
    assert page.evaluate("window.stays") is True
