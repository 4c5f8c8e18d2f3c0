"""The charts of a comparison for a page, each with its caption and the table behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from milepost.report.blocks import Chart
from milepost.report.charts.comparison import difference_panels, sparse_models, sparsity_chart
from milepost.report.comparison.study import Study
from milepost.report.comparison.tables import differences_table
from milepost.report.figures import reach
from milepost.report.formatting import metric_name
from milepost.report.table import Cell, Column, Table, cells, columns
from milepost.text.language import Phrase
from milepost.text.safe_text import printable

_NOT_DRAWN = ("could show", "relative", "p")
_MOST_METRICS = 4
_WIDE = {
    "width": "container",
    "padding": {"left": 4, "right": 12, "top": 8, "bottom": 4},
    "autosize": {"type": "fit-x", "contains": "padding"},
}
"""What makes a chart as wide as its place on a page."""


def comparison_figures(study: Study) -> Iterator[Chart]:
    """Yield a forest plot per unit, then the zeros of each layer where there are any."""
    for panel in difference_panels(study):
        differences = [difference for _, difference in panel.compared]
        names = dict.fromkeys(metric_name(each.metric, each.filter) for each in differences)
        yield Chart(
            {**panel.chart, **_WIDE},
            Phrase(
                "{n} differences from {model}, with 95 % intervals and verdicts",
                n=len(differences),
                model=study.label(study.original),
            ),
            Phrase(
                "n = {docs} docs in common · {metrics} · bar: 95 % interval of the paired difference · "
                "colour: verdict after Holm",
                docs=reach([each.docs.common for each in differences]),
                metrics=", ".join(
                    [*list(names)[:_MOST_METRICS], *(["…"] if len(names) > _MOST_METRICS else [])]
                ),
            ),
            _differences(study, panel.compared),
            title=Phrase("Paired differences"),
            about=", ".join(list(names)[:_MOST_METRICS]),
        )
    if (sparsity := sparsity_chart(study)) is not None:
        table = _shares(study)
        yield Chart(
            {**sparsity, **_WIDE},
            Phrase("Share of zeros in each of {n} linear layers", n=len(table.rows)),
            Phrase(
                "n = {n} linear layers · share of zeros · counted, so there is no interval", n=len(table.rows)
            ),
            table,
            title=Phrase("Zeros by layer"),
        )


def _differences(study: Study, compared: list[tuple[str, Any]]) -> Table | None:
    """Return the differences that a panel draws, with the model's name where there are several."""
    table = differences_table("", [difference for _, difference in compared])
    if table is None or len(study.variants) == 1:
        return table and table.without(_NOT_DRAWN)
    names = Column("model", align="left")
    rows = tuple((Cell(name), *row) for (name, _), row in zip(compared, table.rows, strict=True))
    return Table((names, *table.columns), rows).without(_NOT_DRAWN)


def _shares(study: Study) -> Table:
    """Return layers down and models across: the share of zeros and the pattern."""
    counted = sparse_models(study)
    shapes = {layer.name: layer.shape for _, sparsity in counted for layer in sparsity.layers}
    shares = [{layer.name: layer for layer in sparsity.layers} for _, sparsity in counted]
    return Table(
        (*columns("layer", "shape", left=("layer",)), *(Column(study.label(model)) for model, _ in counted)),
        tuple(
            cells(
                [
                    printable(name),
                    " x ".join(map(str, shape)),
                    *(f"{own[name].share:.2%} {own[name].pattern}" if name in own else "" for own in shares),
                ]
            )
            for name, shape in shapes.items()
        ),
    )
