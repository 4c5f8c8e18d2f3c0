"""Reports as files: there whole or not at all, in the format that the name's ending asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from milepost.errors import ResultsError
from milepost.store.atomic_files import write_atomically

if TYPE_CHECKING:
    import altair as alt

CHART_SUFFIXES = (".png", ".svg", ".html")
_PIXELS_PER_POINT = 2.0
"""PNG at twice the size, sharp on the screens of today."""


def check_target(path: Path, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse, before any work is done, a file that could not be written.

    Raises:
        ResultsError: its name ends in none of `suffixes`, it is a folder, or its folder does not exist.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        ending = f"ends in `{path.suffix}`" if path.suffix else "has no ending"
        raise ResultsError(f"{path} {ending}", f"the name says the format: {', '.join(suffixes)}")
    if path.is_dir():
        raise ResultsError(f"{path} is a folder", "name a file in it")
    if not path.parent.is_dir():
        raise ResultsError(f"{path.parent} is not a folder", "create it first, or choose another -o")


def write_file(path: Path, data: bytes) -> None:
    """Write or replace a file in one step.

    Raises:
        ResultsError: it cannot be written; an older file of that name is then as it was.
    """
    check_target(path)
    try:
        write_atomically(path, data)
    except ResultsError as error:
        raise ResultsError(error.message, "free space, or choose another -o") from error


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
        from milepost.report.page import chart_page

        write_file(path, chart_page(chart).encode())
        return []
    if kind == ".svg":
        write_file(path, _svg(chart.to_dict()).encode())
        return []
    data, notices = _png(chart)
    write_file(path, data)
    return notices


def _svg(spec: dict[str, object]) -> str:
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=vegalite_version())
    return svg


def _png(chart: alt.TopLevelMixin) -> tuple[bytes, list[str]]:
    import vl_convert

    from milepost.report.charts.fonts import spell_missing

    spec, missing = spell_missing(chart.to_dict())
    data = vl_convert.vegalite_to_png(spec, vl_version=vegalite_version(), scale=_PIXELS_PER_POINT)
    if not missing:
        return data, []
    which = " ".join(f"{char} (U+{ord(char):04X})" for char in sorted(missing)[:8])
    return data, [
        f"no font here draws {which}: spelt out in the picture; install a font, or write SVG or HTML"
    ]


def vegalite_version() -> str:
    """The Vega-Lite that altair writes, as vl-convert names it: `v6.4.1` is `6.4`."""
    from altair import SCHEMA_VERSION

    return ".".join(SCHEMA_VERSION.lstrip("v").split(".")[:2])
