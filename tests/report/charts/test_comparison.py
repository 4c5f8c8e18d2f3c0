"""The charts of a comparison: every marker stands in the row of its task and its variant, in every panel."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import vl_convert

from milepost.report.charts.comparison import difference_panels
from milepost.report.comparison.study import ReportedModel, Study, make_study
from milepost.report.vega import vegalite_version
from milepost.types.answers import ModelAnswers, TaskAnswers
from tests.analysis.answered import model, perplexity, right, task

ROLES = ("original", "pruned", "pruned_2", "pruned_3")


def study(*, n_tasks: int, n_texts: int, n_variants: int) -> Study:
    chance = np.random.default_rng(1)

    def answers(role: str, worse_by: float) -> ModelAnswers:
        tasks = [right(f"task_{i}", chance.random(100) < 0.7 - worse_by) for i in range(n_tasks)]
        texts = [
            perplexity(f"text_{i}", list(chance.random(40) * 3 + worse_by), [1.0] * 40)
            for i in range(n_texts)
        ]
        return model(*tasks, *texts, checkpoint=role)

    roles = ROLES[: n_variants + 1]
    models = [
        ReportedModel(role=role, answers=answers(role, 0.1 * place), sparsity=None)
        for place, role in enumerate(roles)
    ]
    made = make_study(models, 0)
    assert made is not None
    return made


def drawn_panel(chart: dict[str, Any]) -> str:
    return str(vl_convert.vegalite_to_svg(chart, vl_version=vegalite_version()))


def markers(svg: str) -> list[tuple[str, str, float]]:
    """Task, variant and distance from the top of its panel of each marker of a drawn chart."""
    found = []
    for group in re.split(r'class="mark-symbol role-mark', svg)[1:]:
        body = group.partition("</g>")[0]
        for label, y in re.findall(
            r'aria-label="([^"]*)"[^>]*transform="translate\([-\d.e]+,([-\d.e]+)\)"', body
        ):
            fields = dict(part.split(": ", 1) for part in label.split("; ") if ": " in part)
            if "task" in fields:
                found.append((fields["task"], fields["variant"], float(y)))
    return found


def rows_of(svg: str) -> dict[str, float]:
    """Task to the middle of its row, from the labels of the axes."""
    found = {}
    for axis in svg.split('aria-label="Y-axis')[1:]:
        labels = axis.partition("role-axis-title")[0]
        for y, name in re.findall(
            r'<text [^>]*transform="translate\([-\d.e]+,([-\d.e]+)\)"[^>]*>([^<]+)</text>', labels
        ):
            if name.startswith(("task_", "text_")):
                found[name] = float(y)
    return found


@pytest.mark.parametrize(
    ("n_tasks", "n_texts", "n_variants"), [(1, 4, 2), (5, 1, 3), (2, 6, 3), (6, 2, 1), (1, 1, 3)]
)
def test_every_marker_stands_in_the_row_of_its_task(n_tasks: int, n_texts: int, n_variants: int) -> None:
    made = study(n_tasks=n_tasks, n_texts=n_texts, n_variants=n_variants)
    svgs = [drawn_panel(panel.chart) for panel in difference_panels(made)]
    assert len(svgs) == 2
    for svg, n in zip(svgs, (n_tasks, n_texts), strict=True):
        rows, drawn = rows_of(svg), markers(svg)
        assert len(rows) == n
        assert len(drawn) == n * n_variants
        for name, _, y in drawn:
            assert min(rows, key=lambda other: abs(rows[other] - y)) == name
        # Within a row the variants stand in their order.
        for name in rows:
            places = [y for task_name, _, y in drawn if task_name == name]
            assert places == sorted(places)
            assert len(set(places)) == n_variants


def test_perplexities_stand_on_a_log_axis_of_ratios() -> None:
    _, texts = difference_panels(study(n_tasks=1, n_texts=2, n_variants=2))
    marks = texts.chart["layer"][2]
    assert marks["encoding"]["x"]["scale"]["type"] == "log"
    assert all(row["low"] < row["difference"] < row["high"] for row in marks["data"]["values"])


def test_a_chart_of_many_variants_fits_a_page() -> None:
    for panel in difference_panels(study(n_tasks=3, n_texts=2, n_variants=3)):
        svg = drawn_panel(panel.chart)
        assert float(re.search(r'<svg[^>]* width="([\d.]+)"', svg).group(1)) <= 1280


def test_scores_in_percent_and_f1_stand_in_the_panel_of_points() -> None:
    """squadv2's `exact` counts 100 for a right doc, and an original of 0 has no change in per cent."""
    lists = [[0.0] * 30, [0.0] * 29 + [100.0]]

    def squad(values: list[float]) -> TaskAnswers:
        one = task("squadv2", metric="exact", values=values)
        (exact,) = one.measurements
        others = [dataclasses.replace(exact, metric=metric) for metric in ("f1", "HasAns_exact")]
        docs = {(metric, "none"): values for metric in ("exact", "f1", "HasAns_exact")}
        return dataclasses.replace(one, measurements=(exact, *others), values=docs)

    models = [
        ReportedModel(role=role, answers=model(squad(values), checkpoint=role), sparsity=None)
        for role, values in zip(ROLES, lists, strict=False)
    ]
    made = make_study(models, 0)
    assert made is not None
    (panel,) = difference_panels(made)
    drawn = {row["task"]: row["difference"] for row in panel.chart["layer"][2]["data"]["values"]}
    assert drawn == pytest.approx({"squadv2 exact": 100 / 30, "squadv2 f1": 100 / 30})
    assert list(made.variants[0].comparison.by_name) == ["squadv2", "squadv2 f1"]
