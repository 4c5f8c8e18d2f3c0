"""A comparison as one HTML file: nothing is fetched when it is read, and all foreign text is escaped."""

from __future__ import annotations

from typing import Any

from milepost.report.comparison.study import Study, Variant
from milepost.report.comparison.tables import (
    HOW_TO_READ,
    VERDICT,
    headline,
    layers_table,
    models_table,
    overview_table,
    uncounted,
    variant_tables,
)
from milepost.report.page import chart_parts, template
from milepost.report.provenance import facts
from milepost.safe_text import printable
from milepost.version import __version__


def comparison_page(study: Study) -> str:
    """The whole report: the chart, the tables of the Markdown report, and the questions lost and gained."""
    from milepost.report.charts.comparison import comparison_chart

    chart = comparison_chart(study)
    return template("comparison.html.j2").render(
        version=__version__,
        title=f"What changed from {study.label(study.original)}",
        headlines=[headline(study, variant) for variant in study.variants],
        models=models_table(study),
        uncounted=uncounted(study),
        overview=overview_table(study),
        variants=[_variant(study, variant) for variant in study.variants],
        verdict_column=VERDICT,
        how_to_read=HOW_TO_READ.replace("`", ""),
        measured=[(study.label(model), facts(model.newest)) for model in study.models],
        **(chart_parts(chart.to_dict()) if chart is not None else {"spec": None}),
    )


def _variant(study: Study, variant: Variant) -> dict[str, Any]:
    comparison = variant.comparison
    return {
        "name": study.label(variant.model),
        "notes": [printable(note) for note in comparison.notes],
        "tables": variant_tables(variant),
        "uncompared": [(printable(what), printable(reason)) for what, reason in comparison.uncompared],
        "layers": layers_table(study, variant.model),
        "examples": [one for one in variant.examples if one.lost or one.gained],
    }
