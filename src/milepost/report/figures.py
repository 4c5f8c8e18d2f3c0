"""Charts of a page with what belongs to them: a caption that says metric, interval and docs, and a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row
from milepost.report.blocks import Chart, Grid, Note
from milepost.report.charts.heat_cells import has_chance, page_map
from milepost.report.charts.page_curve import Level, page_curve
from milepost.report.charts.remarks import drawable, marks
from milepost.report.formatting import (
    NOT_MEASURED,
    metric_heading,
    model_name,
    plus_minus,
    signed,
    step_label,
    training_runs,
)
from milepost.report.scores import score_tables, value_cells
from milepost.report.table import Cell, CellRow, Column, Table, cells, columns, grouped
from milepost.text.language import _
from milepost.text.safe_text import printable


def curve_figures(
    rows: Sequence[Row],
    *,
    log_x: bool = False,
    in_tokens: bool = False,
    levels: Callable[[Curve], Sequence[tuple[str, float]]] = lambda of: (),
) -> list[Grid]:
    """Return a chart per task, metric and filter, a line per series, side by side.

    Beside training runs, a model that has no step is a line across.

    Args:
        log_x: steps on a log axis.
        in_tokens: the steps are tokens that were trained on.
        levels: names and values to draw across the chart of a curve: published scores.
    """
    series = list(dict.fromkeys(row.series for row in drawable(rows, log_x=False)))
    figures = []
    for (task, metric, filter_name), own in grouped(
        rows, lambda row: (row.label, row.metric, row.filter)
    ).items():
        shown = curves(own)
        through = drawable(own, log_x=False)
        across = [row for row in own if row not in through and row.value is not None]
        spec = page_curve(
            through,
            series=series,
            log_x=log_x,
            in_tokens=in_tokens,
            levels=[
                *(Level(*level) for level in levels(shown[0])),
                *(Level(model_name(row.series, row.checkpoint), row.value or 0.0) for row in across),
            ],
        )
        what = metric_heading(metric, filter_name, own[0].higher_is_better)
        figures.append(
            Chart(
                spec,
                _(
                    "{task}, {what}: a curve for each of {series}",
                    task=printable(task),
                    what=what,
                    series=_names(series),
                ),
                _caption(curves(through), across),
                _table(shown),
                title=printable(task),
                about=what,
            )
        )
    return [Grid(tuple(figures), "large")]


def heat_figure(found: Sequence[Curve], *, href: str = "") -> Chart | Note:
    """Return a heat map of tasks and checkpoints, with first and last value and gain in its table.

    Args:
        found: a curve per task, all of one series and metric, in the order to show.
        href: where one task's curve is, as `curves`; its name is added.
    """
    if not found:
        return Note(_("Nothing is measured yet."))
    first = found[0].rows[0]
    names = without_common_start([printable(each.task) for each in found])
    what = metric_heading(first.metric, first.filter, first.higher_is_better)
    counts = [row.n for each in found for row in each.measured]
    docs = _("n = {docs} docs per subject", docs=reach(counts))
    colour = _("colour: distance from chance") if has_chance(found) else _("colour: {what}", what=what)
    return Chart(
        page_map(found, names),
        _(
            "{n} subjects of {series} at each checkpoint, {what}",
            n=len(found),
            series=printable(first.series),
            what=what,
        ),
        " · ".join((docs, colour, _("95 % intervals: under the pointer and in the table"))),
        Table(
            columns("task", "docs", "first", "last", "gain", wraps=("task",)),
            tuple(_extremes(each, name, href) for each, name in zip(found, names, strict=True)),
        ),
        title=printable(first.series),
        about=what,
    )


def _extremes(of: Curve, name: str, href: str) -> CellRow:
    first, last = of.measured[0], of.measured[-1]
    gain = (last.value or 0.0) - (first.value or 0.0)
    return cells(
        [
            Cell(
                name, href=f"{href}?task={quote(of.rows[0].task)}&series={quote(of.series)}" if href else ""
            ),
            f"{last.n:,}",
            _value(first),
            _value(last),
            signed(gain, of.metric, beside=last.value or 0.0) if first is not last else NOT_MEASURED,
        ]
    )


def _value(row: Row) -> str:
    return plus_minus(row.value or 0.0, row.ci_low, row.ci_high, row.metric)


def without_common_start(names: Sequence[str]) -> list[str]:
    """Return the names without the words that all of them begin with: `mmlu_` of each subject."""
    words = [name.split("_") for name in names]
    common = 0
    if len(names) > 1:
        while all(len(of) > common + 1 and of[common] == words[0][common] for of in words):
            common += 1
    return ["_".join(of[common:]) for of in words]


def _caption(shown: Sequence[Curve], across: Sequence[Row]) -> str:
    counts = [row.n for each in shown for row in each.measured] + [row.n for row in across]
    docs = _("n = {n} docs", n=reach(counts)) if counts else ""
    lines = _("dashed with a name: a model without steps") if across else ""
    return " · ".join(filter(None, (docs, *marks(shown), lines)))


def _table(shown: Sequence[Curve]) -> Table:
    """Return the values of a chart: steps down, series across."""
    if len(shown) == 1:
        return score_tables(shown[0].rows)[0]
    steps = sorted({(row.step is None, row.step or 0, row.checkpoint) for each in shown for row in each.rows})
    labels = list(
        dict.fromkeys(step_label(None if named else step, checkpoint) for named, step, checkpoint in steps)
    )
    values = [
        dict(zip((step_label(row.step, row.checkpoint) for row in each.rows), value_cells(each), strict=True))
        for each in shown
    ]
    return Table(
        (Column("step"), *(Column(printable(each.series)) for each in shown)),
        tuple(cells([label, *(of.get(label, NOT_MEASURED) for of in values)]) for label in labels),
    )


def reach(counts: Sequence[int]) -> str:
    """Return `223`, or `40–223` where checkpoints or tasks differ."""
    return "–".join(f"{count:,}" for count in dict.fromkeys((min(counts), max(counts))))


def _names(series: Sequence[str]) -> str:
    return ", ".join(map(printable, series)) if len(series) <= 4 else training_runs(len(series))
