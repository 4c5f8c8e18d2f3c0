"""Render blocks as one HTML page: nothing is fetched when it is read, and all foreign text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from milepost.report.blocks import Block, charts_in
from milepost.report.charts.theme import DARK, LIGHT
from milepost.safe_text import printable
from milepost.version import __version__

if TYPE_CHECKING:
    from jinja2 import Template


def page(title: str, blocks: Sequence[Block]) -> str:
    """Return a page with a heading and the blocks; its charts are drawn for light and for dark screens."""
    charts = charts_in(blocks)
    return _template("page.html.j2").render(
        version=__version__,
        title=printable(title),
        blocks=blocks,
        charts=charts,
        # The page has its own heading and colours; vega-embed would prefer those in the spec.
        specs=[
            {key: chart.spec[key] for key in chart.spec if key not in ("config", "title")} for chart in charts
        ],
        paper={"light": {**LIGHT, "background": None}, "dark": DARK},
        script=_vega() if charts else "",
    )


def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader

    return Environment(
        loader=PackageLoader("milepost.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template(name)


@cache
def _vega() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script of 0.9 MB, which takes 3 s to bundle."""
    import vl_convert
    from markupsafe import Markup

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vegalite_version())
    return Markup(bundle.replace("</script", "<\\/script"))


def vegalite_version() -> str:
    """Return the Vega-Lite version of altair, as vl-convert names it: `v6.4.1` is `6.4`."""
    from altair import SCHEMA_VERSION

    return ".".join(SCHEMA_VERSION.lstrip("v").split(".")[:2])
