"""Chromium, a dashboard served by a process of its own, and pages that note what a page must not do.

Everything here is marked `browser` and run by `make test-web`. A test fails if its page wrote an error to the
console, raised an exception, opened a dialog, or asked any other address than its server's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from tests.web.browser.hub_results import HubResults, hub_results
from tests.web.test_serving import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page

PATIENCE_MS = 120_000
"""For whatever a test waits for: a busy machine may take its time, as how soon it comes is no matter here."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no Chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def faults_of(page: Page, axe: str) -> list[tuple[str, str]]:
    """Return the rules of axe-core that a page breaks, also slightly, each with an example."""
    wait_for_charts(page)
    page.evaluate("document.querySelectorAll('main details').forEach((each) => (each.open = true))")
    page.evaluate(axe)
    found = page.evaluate("axe.run()")["violations"]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in found]


def wait_for_charts(page: Page) -> None:
    """Wait until all charts are drawn and can be used; their pictures are there a little before."""
    page.locator(".chart .save[hidden]").first.wait_for(state="detached")


def chosen(page: Page) -> dict[str, list[str]]:
    """Return what the address says now; `page.url` may be a moment behind."""
    return parse_qs(page.evaluate("location.search").removeprefix("?"))


def scroll(page: Page, pixels: int) -> None:
    """Scroll down at once: a turn of the wheel goes on after the call that asks for it."""
    page.evaluate("(pixels) => scrollBy({ top: pixels, behavior: 'instant' })", pixels)


class Watched:
    """A browser's page, and what it did that it must not."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        page.on("dialog", self._close)
        page.on("console", lambda said: self._note(said.type in ("error", "warning"), said.text))
        page.on("pageerror", lambda error: self._note(True, str(error)))
        page.on("request", lambda request: self._note(not self._is_ours(request.url), request.url))

    def open(self, address: str) -> Page:
        """Open an address of the server, such as `/curves?series=run`, and wait until it is loaded."""
        self.page.goto(self.url + address.lstrip("/"), wait_until="load")
        return self.page

    def _is_ours(self, address: str) -> bool:
        return address.startswith((self.url, "data:", "blob:", "about:"))

    def _close(self, dialog: Dialog) -> None:
        self._note(True, dialog.message)
        dialog.dismiss()

    def _note(self, is_fault: bool, text: str) -> None:
        if is_fault:
            self.faults.append(text)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve a results folder by a process of its own, until the test ends; returns the address."""
    with ExitStack() as servers:
        yield lambda *given: servers.enter_context(served(*given))[1]


@pytest.fixture
def browse(chromium: Browser, serve: object) -> Iterator[Callable[..., Watched]]:
    """Open pages of a server, as in `browse(url, color_scheme="dark")`; at the end none may have faults."""
    contexts: list[BrowserContext] = []
    opened: list[Watched] = []

    def new(url: str, **options: Any) -> Watched:
        contexts.append(chromium.new_context(**options))
        contexts[-1].set_default_timeout(PATIENCE_MS)
        opened.append(Watched(contexts[-1].new_page(), url))
        return opened[-1]

    yield new
    for context in contexts:
        context.close()
    assert [fault for watched in opened for fault in watched.faults] == []


@pytest.fixture(scope="session")
def url(made_results: Path) -> Iterator[str]:
    """The address of a dashboard of `made_results`."""
    with served(made_results) as (_, address):
        yield address


@pytest.fixture(scope="session")
def of_hub(shared: Path, hub: str, tmp_path_factory: pytest.TempPathFactory) -> HubResults:
    """Results of real models on the hub's data: a training run, and a pruned model."""
    return hub_results(shared, tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="session")
def hub_url(of_hub: HubResults) -> Iterator[str]:
    """The address of a dashboard of both folders of `of_hub`."""
    with served(of_hub.run, str(of_hub.pruned)) as (_, address):
        yield address


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    path = Path(os.environ.get("MILEPOST_AXE", ""))
    if not path.is_file():
        pytest.skip("no axe-core here; `make test-web` fetches it")
    return path.read_text("utf-8")
