"""Write a chart as PNG, SVG or HTML."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.report.blocks import Chart
from milepost.report.charts.fonts import missing_glyphs, spell_missing
from milepost.report.files import CHART_SUFFIXES, check_target, write_file
from milepost.report.html import page
from milepost.report.vega import vegalite_version
from milepost.text.language import ENGLISH, Phrase, _, speaking
from milepost.text.safe_text import printable

if TYPE_CHECKING:
    import altair as alt

_PIXELS_PER_POINT = 2.0
"""PNG at twice the size, sharp on the screens of today."""


@contextmanager
def words_of_picture(path: Path) -> Iterator[None]:
    """Let charts that are made in the block speak the reader's language, or English if no font here draws it.

    SVG and HTML are drawn where they are read, with the fonts there.
    """
    if path.suffix.lower() == ".png" and missing_glyphs(_("step")):
        with speaking(ENGLISH):
            yield
    else:
        yield


def write_chart(chart: alt.TopLevelMixin, path: Path) -> list[str]:
    """Write a chart as PNG, SVG or one self-contained HTML page, by the ending of `path`.

    Returns:
        What the reader should know, one line each: characters that no font of this machine can draw, which
        are then spelt out in a PNG. SVG and HTML are drawn where they are read, with the fonts there.

    Raises:
        ResultsError: unknown ending, or the file cannot be written.
    """
    check_target(path, CHART_SUFFIXES)
    kind = path.suffix.lower()
    if kind == ".html":
        write_file(path, chart_page(chart).encode())
        return []
    if kind == ".svg":
        write_file(path, _svg(chart.to_dict()).encode())
        return []
    data, notices = _png(chart)
    write_file(path, data)
    return notices


def chart_page(chart: alt.TopLevelMixin) -> str:
    """Return an HTML page with one chart, for light and for dark screens."""
    spec = chart.to_dict()
    title = "".join(spec["title"]["text"])
    return page(title, [Chart(spec, printable(title), " · ".join(spec["title"]["subtitle"]))])


def _svg(spec: dict[str, object]) -> str:
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=vegalite_version())
    return svg


def _png(chart: alt.TopLevelMixin) -> tuple[bytes, list[str]]:
    import vl_convert

    spec, missing = spell_missing(chart.to_dict())
    data = vl_convert.vegalite_to_png(spec, vl_version=vegalite_version(), scale=_PIXELS_PER_POINT)
    if not missing:
        return data, []
    which = " ".join(f"{char} (U+{ord(char):04X})" for char in sorted(missing)[:8])
    return data, [
        Phrase(
            "no font here draws {characters}: spelt out in the picture; install a font, or write SVG or HTML",
            characters=which,
        )
    ]
