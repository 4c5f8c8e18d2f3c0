"""Makes the pictures of the dashboard in docs/images anew, from results folders, in light and in dark.

    python docs/pictures.py RESULTS...

Chromium has to be on the PATH. Each picture is a window of 1280 x 1100 pixels with 256 colours.

The results are of two models: the demo's, and `narrow-llama`, which differs in
`Recipe(hidden_size=64, intermediate_size=192, layers=2)` (`milepost.demo.training`). Both were measured by
`milepost run tiny-llama narrow-llama --include-path tasks -o results` on the four tasks of the demo.
The perplexity page has a text of the invented world beside them.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = Path(__file__).with_name("images")
PAGES = {
    "overview": "overview",
    "curves": "curves",
    "subjects": "subjects?sort=gain",
    "questions": "questions?kind=learned",
    "compare": "compare",
    "leaderboard": "leaderboard",
    "signal": "signal",
    "perplexity": "perplexity",
    "runs": "runs",
}
"""Name of the picture, and address of the page."""
WIDTH, HEIGHT = 1280, 1100
MOST_BYTES = 150_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def make_pictures(
    results: list[Path], folder: Path, *, pages: dict[str, str], width: int, height: int
) -> None:
    """Write a picture of each page in each theme."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM)))
    with served(results) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
            for name, address in pages.items():
                page.goto(url + address, wait_until="load")
                wait_for_charts(page)
                picture = fewer_colours(page.screenshot())
                assert len(picture) <= MOST_BYTES, f"{name} has {len(picture):,} bytes"
                (folder / f"{name}-{theme}.png").write_bytes(picture)
        browser.close()


def wait_for_charts(page: Any) -> None:
    """Wait until the charts in the window are drawn."""
    if page.locator(".plot").count():
        page.locator(".plot svg").first.wait_for()
    page.wait_for_timeout(700)


def fewer_colours(png: bytes) -> bytes:
    """Return the picture with a palette of 256 colours: a third of the size."""
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return out.getvalue()


@contextmanager
def served(results: list[Path]) -> Iterator[str]:
    """Serve results folders by a process of its own; gives the address."""
    command = [sys.executable, "-m", "milepost", "serve", *map(str, results), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = ""
    while not lines.rstrip().endswith("}"):
        line = process.stdout.readline()
        assert line, "the server ended"
        lines += line
    try:
        yield json.loads(lines)["url"]
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, nargs="+", help="results folders")
    parser.add_argument("--into", type=Path, default=FOLDER, help="where the pictures go")
    parser.add_argument("--only", help="the pictures to make, joined by commas")
    parser.add_argument("--lang", help="language of the pages: en or zh")
    parser.add_argument("--size", default=f"{WIDTH}x{HEIGHT}", help="of the window")
    given = parser.parse_args()
    only = given.only.split(",") if given.only else list(PAGES)
    pages = {name: PAGES.get(name, name) for name in only}
    if given.lang:
        pages = {
            name: f"{address}{'&' if '?' in address else '?'}lang={given.lang}"
            for name, address in pages.items()
        }
    width, height = map(int, given.size.split("x"))
    given.into.mkdir(parents=True, exist_ok=True)
    make_pictures(given.results, given.into, pages=pages, width=width, height=height)


if __name__ == "__main__":
    main()
