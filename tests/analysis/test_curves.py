"""Curves: in order, with their gaps, and their best checkpoint."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.analysis import curves, rows
from milepost.analysis.curves import missing_steps, with_gaps
from milepost.types.checkpoints import Visited
from tests.analysis.made import accuracy, measurement, perplexity


def test_a_curve_is_ordered_by_step_whatever_the_order_of_the_rows() -> None:
    (curve,) = curves(rows([accuracy(value=0.3, n=50, step=step) for step in (2000, 100, 900)]))
    assert [row.step for row in curve.rows] == [100, 900, 2000]


def test_checkpoints_without_a_step_come_last() -> None:
    found = [measurement(step=None, checkpoint="main"), measurement(step=10), measurement(step=0)]
    (curve,) = curves(rows(found))
    assert [row.checkpoint for row in curve.rows] == ["step-0", "step-10", "main"]


def test_a_checkpoint_that_one_task_lacks_is_a_gap_in_its_curve() -> None:
    found = [accuracy(value=0.3, n=50, task="a", step=step) for step in (1, 2, 3)]
    found += [accuracy(value=0.3, n=50, task="b", step=step) for step in (1, 3)]
    of_b = curves(rows(found))[1]
    assert [(row.step, row.value, row.n) for row in of_b.rows] == [(1, 0.3, 50), (2, None, 0), (3, 0.3, 50)]


def test_each_series_has_gaps_only_where_it_has_checkpoints_itself() -> None:
    found = [accuracy(value=0.3, n=50, series="long", step=step) for step in (1, 2, 3)]
    found += [accuracy(value=0.3, n=50, series="short", step=2)]
    assert [len(curve.rows) for curve in curves(rows(found))] == [3, 1]


def test_the_best_is_the_highest_accuracy_and_the_lowest_perplexity() -> None:
    values = ((1, 0.3), (2, 0.5), (3, 0.4))
    (up,) = curves(rows([accuracy(value=v, n=50, step=s) for s, v in values]))
    (down,) = curves(rows([perplexity(value=10 * v, step=s) for s, v in values]))
    assert (up.best.step, down.best.step) == (2, 1)
    assert (up.first.step, up.last.step) == (1, 3)


def test_of_equals_the_earliest_is_the_best() -> None:
    (curve,) = curves(rows([accuracy(value=0.5, n=50, step=s) for s in (3, 1, 2)]))
    assert curve.best.step == 1


def test_a_metric_without_direction_has_no_best() -> None:
    (curve,) = curves(rows([measurement(higher_is_better=None)]))
    assert curve.best is None


def test_a_curve_of_gaps_only_has_no_first_no_last_no_best() -> None:
    (curve,) = curves(rows([measurement(value=None)]))
    assert (curve.first, curve.last, curve.best) == (None, None, None)


def test_filters_and_metrics_of_one_task_are_curves_of_their_own() -> None:
    found = [measurement(metric=m, filter=f) for m in ("acc", "acc_norm") for f in ("none", "strict")]
    assert len(curves(rows(found))) == 4


def test_a_checkpoint_without_any_metric_is_a_gap_in_every_curve_of_its_series() -> None:
    found = [accuracy(value=0.3, n=50, task=task, step=step) for task in "ab" for step in (1, 3)]
    found += [accuracy(value=0.3, n=50, series="other", step=1)]
    filled = with_gaps(rows(found), [Visited("run", "step-2", 2)])
    assert [[(row.step, row.n) for row in curve.rows] for curve in curves(filled)] == [
        [(1, 50), (2, 0), (3, 50)],
        [(1, 50), (2, 0), (3, 50)],
        [(1, 50)],
    ]


@pytest.mark.parametrize(
    ("steps", "missing"),
    [
        ((2, 4, 6, 8), []),
        ((2, 4, 8, 10), [6]),
        ((0, 10, 20, 30, 60, 70, 80, 90, 100), [40, 50]),
        ((1, 2, 4, 8), []),  # each twice the one before
        ((25, 37, 54, 79, 117), []),
        ((1, 2, 3, 4, 5, 10, 20, 30), []),  # wider from 5 on
        ((10, 30), []),
    ],
)
def test_an_evenly_spaced_series_lacks_the_steps_between(steps: Any, missing: Any) -> None:
    assert missing_steps(steps) == missing
