"""Render blocks as one HTML page: nothing is fetched from elsewhere, and all foreign text is escaped.

Each kind of block has a template of its name in `templates/blocks`, the page around them is
`templates/page.html.j2`. Style and script are in `static`: a page that is one file holds them, a served page
links to them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.report.blocks import Block, Chart, has_charts
from milepost.report.charts.theme import DARK, LIGHT, ON_DARK
from milepost.report.sparkline import paths
from milepost.report.translation import in_readers_language
from milepost.report.vega import vega_script
from milepost.text.language import _, language, translated
from milepost.text.safe_text import printable
from milepost.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

STATIC = Path(__file__).with_name("static")
"""Style, script and icon of every page."""


@dataclass(frozen=True, slots=True)
class PageLink:
    """A link in the head of a page."""

    text: str
    href: str
    current: bool = False
    lang: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The surroundings of a page's blocks. By default the page is one file that needs nothing else."""

    pages: tuple[PageLink, ...] = ()
    languages: tuple[PageLink, ...] = ()
    lang: str = "en"
    about: str = ""
    """Words at the foot of the page."""
    served: bool = False
    """Whether a server gives the page, its style and its script, and answers to `Controls`."""
    asset_address: str = "/static/"
    query: str = ""
    """What every address must carry, such as `?token=...`."""
    events: str = ""
    """Address of the server-sent events that say when there is something new."""
    records: int = 0
    """The number of what the page shows; an event with another number has the page asked for again."""
    progress: tuple[Block, ...] = ()
    """How far a run is: shown on every page, and part of each event (`fragment`)."""

    def asset(self, name: str) -> str:
        """Return the address of a file in `STATIC`, or of `vega.js`; a new version has a new address."""
        mark = f"{'&' if self.query else '?'}v={_version(name)}"
        return f"{self.asset_address}{name}{self.query}{mark}"

    def link(self, href: str) -> str:
        """Return the address of a place that a block names, such as `curves?task=mmlu`.

        That is a page of the server, or a section of a page that is one file; empty where there is none.
        """
        if href.startswith(("?", "#")):
            return href if self.served or href[0] == "#" else ""
        name = href.lstrip("/")
        if self.served:
            return f"/{name}"
        section = f"#{name.partition('?')[0]}"
        return section if section in {page.href for page in self.pages} else ""


def page(title: str, blocks: Sequence[Block], frame: Frame = Frame()) -> str:
    """Return a page with a heading and the blocks; its charts are drawn for light and for dark screens."""
    charts = has_charts(blocks)
    if not frame.served:
        frame = replace(frame, lang=language().replace("_", "-"))
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            **_names(frame),
            version=__version__,
            title=printable(translated(title)),
            blocks=in_readers_language(blocks),
            charts=charts,
            asset=_asset,
            paper={"light": {**LIGHT, "background": None}, "dark": DARK, "swaps": ON_DARK},
            script=_inline(vega_script()) if charts and not frame.served else "",
        )
    )


def fragment(blocks: Sequence[Block], frame: Frame = Frame()) -> str:
    """Return blocks without a page around them."""
    return str(_names(frame)["render"](in_readers_language(blocks)))


def _names(frame: Frame, level: int = 2) -> dict[str, Any]:
    """Return what every template can use.

    Args:
        level: of headings; those in a section are one level deeper than its own.
    """
    from markupsafe import Markup

    names: dict[str, Any] = {"frame": frame, "_": _, "link": frame.link, "spec": _spec, "paths": paths}
    names["level"] = level

    def render_one(block: Block) -> Markup:
        kind = "str" if isinstance(block, str) else type(block).__name__
        template = _environment().get_template(f"blocks/{kind}.html.j2")
        return Markup(template.render(names, block=block))

    def render(blocks: Iterable[Block], inside: int = 0) -> Markup:
        if inside:
            return Markup(_names(frame, level + inside)["render"](blocks))
        return Markup("\n").join(_marked(render_one(block)) for block in blocks)

    names |= {"render": render, "render_one": render_one}
    return names


def _marked(html: Markup) -> Markup:
    """Return a block with a checksum, by which the script of a live page tells what has changed."""
    from markupsafe import Markup

    if not html.strip():
        return html
    return Markup('<div class="block" data-v="{}">{}</div>').format(zlib.crc32(html.encode()), html)


def _spec(chart: Chart) -> dict[str, Any]:
    """Return the chart's spec without what the page has itself: vega-embed would prefer the spec's."""
    return {key: value for key, value in chart.spec.items() if key not in ("config", "title", "$schema")}


def load_templates() -> None:
    """Compile all templates, which a process that makes many pages does before the first."""
    environment = _environment()
    for name in environment.list_templates(extensions=["j2"]):
        environment.get_template(name)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    return Environment(
        loader=PackageLoader("milepost.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


@cache
def _asset(name: str) -> Markup:
    return _inline((STATIC / name).read_text("utf-8"))


def _inline(script: str) -> Markup:
    """Return our own style or script as it stands; `</script` in it would end its element."""
    from markupsafe import Markup

    return Markup(script.replace("</script", "<\\/script"))


@cache
def _version(name: str) -> str:
    path = STATIC / name
    return f"{zlib.crc32(path.read_bytes()):08x}" if path.is_file() else __version__
