"""Pages of a demo's own results, two checkpoints compared with `milepost compare` among them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from milepost.demo.demonstration import Demonstration, demonstrate
from milepost.report.formatting import number
from milepost.web.pages import PAGES
from tests.cli.called import milepost
from tests.demo.test_demonstration import QUICK
from tests.web.browser.conftest import Watched, serious_faults
from tests.web.test_serving import served


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    folder = tmp_path_factory.mktemp("real")
    made = demonstrate(folder / "out", lambda line: None, QUICK)
    results = made.results.path
    said = milepost(
        "compare", f"{results}@checkpoint-2", f"{results}@checkpoint-8", "-o", folder / "compared"
    )
    assert said.status == 0
    return made


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
    if page.locator(".plot").count():
        page.locator(".plot svg").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_a_question(
    browse: Callable[..., Watched], demo_url: str, axe: str, scheme: str
) -> None:
    page = browse(demo_url, color_scheme=scheme, bypass_csp=True).open("/question")
    assert serious_faults(page, axe) == []


def test_a_phone_is_wide_enough_for_a_question(browse: Callable[..., Watched], demo_url: str) -> None:
    page = browse(demo_url, viewport={"width": 390, "height": 800}).open("/question")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_overview_has_the_values_of_show(
    browse: Callable[..., Watched], demo_url: str, made: Demonstration
) -> None:
    page = browse(demo_url).open("/overview")
    for curve in json.loads(milepost("show", made.results.path, "--json", "--summary").out):
        card = page.locator(".card").filter(has=page.get_by_role("link", name=curve["task"], exact=True))
        assert card.locator(".figure b").inner_text() == number(curve["last"]["value"], curve["metric"])


def test_a_comparison_has_its_verdicts_and_the_parameters_that_were_counted(
    browse: Callable[..., Watched], demo_url: str, made: Demonstration, tmp_path: Path
) -> None:
    results = made.results.path
    names = [f"{results}@checkpoint-2", f"{results}@checkpoint-8"]
    said = json.loads(milepost("compare", *names, "-o", tmp_path / "compared", "--json").out)
    page = browse(demo_url).open("/compare")
    text = page.locator("main").inner_text()
    for task, verdict in said["variants"][0]["verdicts"].items():
        row = page.locator("tbody tr").filter(has=page.get_by_role("rowheader", name=task, exact=True)).first
        assert verdict in row.inner_text()
    assert f"{said['original']['n_parameters']:,}" in text
