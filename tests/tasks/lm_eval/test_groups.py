"""Choice metrics of a group are aggregated as lm_eval aggregates its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from milepost.tasks.lm_eval.groups import group_metrics, group_picks
from milepost.types.metrics import Estimate
from milepost.types.picks import PickCounts

FIGURES = {
    "small": {"ece": Estimate(0.2, 0.05, 10, None), "prob_right": Estimate(0.5, 0.1, 10, 0.25)},
    "large": {"ece": Estimate(0.1, 0.01, 30, None), "prob_right": Estimate(0.3, 0.02, 30, 0.5)},
}
SIZES = {"small": 10, "large": 30}


def loaded(*, weight_by_size: bool | None, tasks: tuple[str, ...] = ("small", "large")) -> Any:
    """One group; None for a group that lists no metrics."""
    listed = None
    if weight_by_size is not None:
        listed = [SimpleNamespace(metric="acc", weight_by_size=weight_by_size)]
    leaves = [SimpleNamespace(task_name=task) for task in tasks]
    group = SimpleNamespace(get_all_tasks=lambda: leaves, aggregate_metric_list=listed)
    return SimpleNamespace(groups={"both": group})


def test_tasks_are_weighted_by_docs_where_the_group_says_so() -> None:
    found = group_metrics(loaded(weight_by_size=True), FIGURES, SIZES)["both"]
    assert found["ece"].value == pytest.approx((0.2 * 10 + 0.1 * 30) / 40)
    assert found["prob_right"].chance == pytest.approx((0.25 * 10 + 0.5 * 30) / 40)
    variance = (9 * 0.05**2 * 10 + 29 * 0.01**2 * 30) / (40 - 2) / 40  # lm_eval's pooled_sample_stderr
    assert found["ece"].stderr == pytest.approx(variance**0.5)


def test_tasks_have_equal_weights_by_default() -> None:
    found = group_metrics(loaded(weight_by_size=False), FIGURES, SIZES)["both"]
    assert found["ece"].value == pytest.approx(0.15)
    assert found["ece"].stderr == pytest.approx((0.05**2 + 0.01**2) ** 0.5 / 2)
    assert found["ece"].n == 40


def test_a_group_without_a_list_or_with_a_task_of_another_kind_has_no_choice_metrics() -> None:
    assert group_metrics(loaded(weight_by_size=None), FIGURES, SIZES)["both"] == {}
    mixed = loaded(weight_by_size=True, tasks=("small", "prose"))
    assert group_metrics(mixed, FIGURES, SIZES)["both"] == {}


def test_a_group_with_a_task_without_values_has_no_value() -> None:
    metrics = {**FIGURES, "small": {"ece": Estimate(None, None, 10, None)}}
    assert group_metrics(loaded(weight_by_size=True), metrics, SIZES)["both"]["ece"].value is None


def test_picks_are_summed_and_constant_answers_weighted() -> None:
    picks = {
        "small": PickCounts(10, True, [10, 0], [4, 6], [0.4, 0.6], [], []),
        "large": PickCounts(30, True, [0, 20, 10], [12, 9, 9], [0.4, 0.3, 0.3], [], []),
    }
    found = group_picks(loaded(weight_by_size=True), picks)["both"]
    assert (found.n, found.picked, found.right) == (40, [10, 20, 10], [16, 15, 9])
    assert found.constant == pytest.approx([0.4, (0.6 * 10 + 0.3 * 30) / 40])


def test_tasks_of_one_doc_each_have_no_pooled_error() -> None:
    """`-L 1`: every task has one doc, and lm_eval's pooled error divides by docs less tasks."""
    metrics = {name: {"acc_balanced": Estimate(1.0, 0.5, 1, 0.25)} for name in ("small", "large")}
    sizes = {"small": 1, "large": 1}
    weighed = group_metrics(loaded(weight_by_size=True), metrics, sizes)["both"]["acc_balanced"]
    assert (weighed.value, weighed.stderr, weighed.n) == (1.0, None, 2)
    alike = group_metrics(loaded(weight_by_size=False), metrics, sizes)["both"]["acc_balanced"]
    assert alike.stderr == pytest.approx(0.5**0.5 / 2)
