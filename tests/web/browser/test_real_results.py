"""Pages of a demo's own results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from milepost.demo.demonstration import Demonstration, demonstrate
from milepost.report.formatting import number
from milepost.web.pages import PAGES
from tests.cli.called import milepost
from tests.demo.test_demonstration import QUICK
from tests.web.browser.conftest import Watched, wait_for_charts
from tests.web.test_serving import served


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    folder = tmp_path_factory.mktemp("real")
    return demonstrate(folder / "out", lambda line: None, QUICK)


@pytest.fixture(scope="module")
def demo_url(made: Demonstration) -> Iterator[str]:
    with served(made.results.path) as (_, address):
        yield address


@pytest.mark.parametrize("name", [kind.name for kind in PAGES])
def test_a_page_of_the_demo_says_nothing_to_the_console(
    browse: Callable[..., Watched], demo_url: str, name: str
) -> None:
    page = browse(demo_url).open(f"/{name}")
    assert page.locator("h1").inner_text()
    wait_for_charts(page)


def test_the_overview_has_the_values_of_show(
    browse: Callable[..., Watched], demo_url: str, made: Demonstration
) -> None:
    page = browse(demo_url).open("/overview")
    for curve in json.loads(milepost("show", made.results.path, "--json", "--summary").out):
        card = page.locator(".card").filter(has=page.get_by_role("link", name=curve["task"], exact=True))
        assert card.locator(".figure b").inner_text() == number(curve["last"]["value"], curve["metric"])
