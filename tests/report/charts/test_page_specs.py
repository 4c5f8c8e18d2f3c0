"""The specs of pages, which are written without Altair, are Vega-Lite as its schema has it."""

from __future__ import annotations

from typing import Any

import altair as alt
import pytest

from milepost.analysis import rows
from milepost.analysis.curves import curves
from milepost.report.charts.choice_curves import choice_curves
from milepost.report.charts.comparison import difference_panels
from milepost.report.charts.heat_cells import page_map
from milepost.report.charts.page_curve import Level, page_curve
from tests.analysis.made import accuracy, mmlu, perplexity, rising
from tests.report.charts.test_comparison import study

STEPS = [1000, 2000, 4000]


def two_series() -> dict[str, Any]:
    found = rising("a", STEPS, low=0.2, high=0.6, n=500)
    found += rising("a", STEPS, low=0.2, high=0.4, n=500, series="other")
    return page_curve(rows(found), series=["run", "other"], levels=[Level("published", 0.7)])


def perplexities() -> dict[str, Any]:
    found = [perplexity(value=9000 - step, step=step) for step in STEPS]
    return page_curve(rows(found), series=["run"], log_x=True, in_tokens=True)


def without_steps() -> dict[str, Any]:
    found = rows([accuracy(value=0.5, n=100, step=None, checkpoint="final")])
    return page_curve(found, series=["run"])


def subjects() -> dict[str, Any]:
    found = curves(rows(mmlu(STEPS, subjects=5)))
    return page_map(found, [each.task for each in found])


def texts() -> dict[str, Any]:
    found = curves(rows([perplexity(value=90 - step / 100, step=step) for step in STEPS]))
    return page_map(found, ["text"])


def choices() -> dict[str, Any]:
    return choice_curves(["A", "B"], [1], [("one", 1), ("two", 2)], [[0.1, 0.9], None])


def named_choices() -> dict[str, Any]:
    return choice_curves(["A", "B"], [0], [("one", None)], [[0.1, 0.9]])


def differences() -> dict[str, Any]:
    panel, _ = difference_panels(study(n_tasks=2, n_texts=2, n_variants=2))
    return panel.chart


@pytest.mark.parametrize(
    "make",
    [two_series, perplexities, without_steps, subjects, texts, choices, named_choices, differences],
)
def test_a_spec_is_valid(make: Any) -> None:
    chart = alt.Chart.from_dict(make(), validate=True)
    assert chart.to_dict()["$schema"].startswith("https://vega.github.io/schema/vega-lite/")


def test_a_spec_of_another_form_is_not() -> None:
    spec = choices()
    spec["encoding"]["y"]["type"] = "amount"
    with pytest.raises(Exception, match="amount"):
        alt.Chart.from_dict(spec, validate=True)
