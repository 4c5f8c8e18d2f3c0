"""Reports as one HTML file: nothing is fetched when it is read, and all foreign text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.analysis.curves import checkpoints, with_gaps
from milepost.analysis.row import Row
from milepost.report.charts.theme import DARK, LIGHT
from milepost.report.files import check_target, vegalite_version, write_file
from milepost.report.provenance import AskedTask, Fact, asked_tasks, facts
from milepost.report.scores import Grid, grids, legend
from milepost.results.selection import select_all_rows, select_rows
from milepost.safe_text import printable
from milepost.store import ResultsIndex
from milepost.version import __version__

if TYPE_CHECKING:
    import altair as alt
    from jinja2 import Template


def write_report(results: Path, out: Path, *, title: str | None = None) -> list[str]:
    """Write what a results folder holds as one HTML page: charts, tables, and how it was measured.

    Args:
        results: the output folder of a run.
        out: the page; its name ends in `.html`, its folder exists.
        title: heading; by default the names of the series.

    Returns:
        What the reader should know, one line each; see `chart.remarks`.

    Raises:
        ResultsError: no results folder, nothing measured yet, or the page cannot be written.
    """
    check_target(out, (".html",))
    page, notices = _report(ResultsIndex.open(results), title)
    write_file(out, page.encode())
    return notices


def chart_page(chart: alt.TopLevelMixin) -> str:
    """An HTML page with one chart, at home on light and dark screens."""
    spec = chart.to_dict()
    return _page(title="".join(spec["title"]["text"]), spec=spec)


def _report(index: ResultsIndex, title: str | None) -> tuple[str, list[str]]:
    from milepost.report.charts.curves import curve, remarks

    every, summary = select_all_rows(index), select_rows(index, gaps=False)
    main = with_gaps(summary, index.missing)
    tables = grids(main)
    page = _page(
        title=title or ", ".join(grid.series for grid in tables),
        spec=curve(main).to_dict(),
        summary=_summary(every),
        main_tables=tables,
        all_tables=grids(with_gaps(every, index.missing)) if len(every) > len(summary) else [],
        legend=legend(tables),
        facts=facts(index.newest),
        asked_tasks=asked_tasks(index.newest),
    )
    return page, remarks(main)


def _page(
    *,
    title: str,
    spec: dict[str, Any],
    summary: str = "",
    main_tables: Sequence[Grid] = (),
    all_tables: Sequence[Grid] = (),
    legend: str = "",
    facts: Sequence[Fact] = (),
    asked_tasks: Sequence[AskedTask] = (),
) -> str:
    return template("page.html.j2").render(
        version=__version__,
        title=printable(title),
        summary=summary,
        chart_label=f"Learning curves of {printable(title)}; the same figures are in the table",
        main_tables=main_tables,
        all_tables=all_tables,
        legend=legend,
        facts=facts,
        asked_tasks=asked_tasks,
        marks=spec["title"]["subtitle"],
        **chart_parts(spec),
    )


def template(name: str) -> Template:
    """One of the room's page templates; what is put into it is escaped."""
    from jinja2 import Environment, PackageLoader

    return Environment(
        loader=PackageLoader("milepost.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template(name)


def chart_parts(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What `draw.html.j2` needs to draw a Vega-Lite spec on light and on dark paper."""
    from markupsafe import Markup

    return {
        # The page brings a heading and colours of its own; vega-embed would let those in the spec win.
        "spec": {key: value for key, value in spec.items() if key not in ("config", "title")},
        "light": {**LIGHT, "background": None},
        "dark": DARK,
        "script": Markup(_vega().replace("</script", "<\\/script")),
    }


@cache
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script of 0.9 MB, which takes 3 s to bundle."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vegalite_version())
    return bundle


def _summary(every: Sequence[Row]) -> str:
    parts = []
    for series, places in checkpoints(every).items():
        steps = [place.step for place in places if place.step is not None]
        reach = f", steps {steps[0]} to {steps[-1]}" if len(steps) > 1 else ""
        several = "s" if len(places) > 1 else ""
        parts.append(f"{printable(series)}: {len(places)} checkpoint{several}{reach}")
    return "; ".join(parts)
