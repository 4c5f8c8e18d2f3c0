"""One rule: what `show`, `signal`, the star and the ring say of the same curve never contradicts."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from milepost.analysis import rows
from milepost.analysis.curves import Curve, curves
from milepost.analysis.intervals import NO_INTERVAL
from milepost.analysis.learning_state import learning_state
from milepost.analysis.standing import Standing, best_row, standing
from milepost.analysis.task_signal import TaskSignal, task_signals
from milepost.analysis.training import TrainedCurve
from milepost.report.charts.curves import curve as chart
from milepost.report.progress import remark
from milepost.report.scores import score_tables
from milepost.types.metrics import Measurement
from tests.analysis.made import accuracy, perplexity, rising

LATE = [0.27, 0.26, 0.275, 0.28, 0.25, 0.4, 0.6, 0.8, 0.955]
"""Flat for half of the run, then rising."""


def some_curves(seed: int) -> Iterator[list[Measurement]]:
    """Curves of every kind: flat, rising, falling, at chance, in a band; few and many checkpoints, docs."""
    pick = random.Random(seed)
    for number in range(60):
        steps = list(range(1, pick.choice([2, 3, 4, 5, 6, 8, 12, 27])))
        low, high = pick.choice([(0.25, 0.25), (0.25, 0.3), (0.25, 0.7), (0.6, 0.3), (0.5, 0.5), (0.1, 0.25)])
        band: dict[str, Any] = pick.choice([{}, {"constant": (0.22, 0.28), "fixed_choices": True}])
        n = pick.choice([5, 20, 100, 2000])
        yield rising(f"task-{seed}-{number}", steps, low=low, high=high, n=n, **band)
        slope = pick.choice([-0.3, 0.0, 0.1])
        yield [
            perplexity(
                task=f"text-{seed}-{number}",
                step=step,
                value=math.exp(4 + slope * step + pick.gauss(0, 0.05)),
                stderr=0.5,
            )
            for step in steps
        ]
    for number, values in enumerate((LATE, LATE[1:], LATE[::-1], LATE[:5])):
        yield [
            accuracy(task=f"late-{seed}-{number}", step=step, value=value, n=pick.choice([20, 200]))
            for step, value in enumerate(values, 1)
        ]


def seen(measured: list[Measurement]) -> tuple[Curve, Standing, TaskSignal]:
    (curve,) = curves(rows(measured))
    (signal,) = task_signals(measured, [])
    shown = standing(curve)
    assert shown is not None
    return curve, shown, signal


@pytest.mark.parametrize("seed", range(4))
def test_show_signal_star_and_ring_never_contradict_each_other(seed: int) -> None:
    for measured in some_curves(seed):
        curve, shown, signal = seen(measured)
        rating = signal.main.rating
        trained = TrainedCurve(curve=curve, progress=None, gain=None, gain_interval=NO_INTERVAL)
        words = remark(trained)
        # One verdict, for one reason.
        assert shown.improved == rating.improved
        assert (shown.verdict == "got worse") == rating.worsened
        assert shown.at_chance == (rating.verdict == "at chance")
        assert (shown.verdict == "too few docs") == (rating.verdict == "too few docs" and len(measured) > 1)
        assert shown.reason == rating.reason
        # The Overview page says the same in other words.
        state = learning_state(trained)
        assert shown.improved == (state in ("still learning", "plateau"))
        assert (shown.verdict == "got worse") == (state == "worse than its best")
        assert shown.at_chance == (state in ("at chance", "inside the constant-answer band"))
        assert (state == "inside the constant-answer band") == (rating.reason.startswith("inside the"))
        if shown.improved:
            assert words == "improved"
            assert best_row(curve) is not None
        else:
            assert "improved" not in words
        # A star and a ring stand at the same checkpoint, and at none where nothing stands out.
        (table,) = score_tables(rows(measured))
        starred = {row[0].text for row in table.rows if row[1].tone == "best"}
        drawn = chart(rows(measured)).datasets["panel-0"]
        ringed = {str(point["step"]) for point in drawn if point["best"]}
        best = best_row(curve)
        assert ringed == (set() if best is None else {str(best.step)})
        assert ringed <= starred
        assert bool(starred) == bool(ringed)
        if shown.at_chance:
            assert not starred


def test_a_curve_that_rises_to_chance_is_at_chance_everywhere() -> None:
    measured = rising("t", list(range(1, 13)), low=0.1, high=0.25, n=2000)
    _, shown, signal = seen(measured)
    assert shown.at_chance
    assert signal.main.rating.verdict == "at chance"
    assert not signal.main.rating.improved


@pytest.mark.parametrize("values", [LATE, LATE[1:], [0.25] * 3 + LATE])
def test_a_curve_that_rises_late_improved(values: list[float]) -> None:
    curve, shown, signal = seen([accuracy(step=i, value=value, n=200) for i, value in enumerate(values, 1)])
    assert (shown.verdict, signal.main.rating.verdict) == ("improved", "watch")
    best = best_row(curve)
    assert best is not None
    assert best.step == len(values)


def test_a_jump_without_a_trend_is_told_alike_by_show_and_signal() -> None:
    """Four checkpoints that do not rise one after the other show no trend, however large the last step is."""
    measured = [accuracy(step=i, value=value, n=2000) for i, value in enumerate([0.3, 0.28, 0.5, 0.9], 1)]
    _, shown, signal = seen(measured)
    assert shown.verdict == "no steady trend"
    assert signal.main.rating.verdict == "no steady trend"
    assert shown.reason == "above chance; moves, 0.29 → 0.7"


def test_a_metric_of_the_users_own_is_judged_by_the_same_scale_everywhere() -> None:
    """Its noise is a part of its value, so that only logarithms show that it falls."""
    values = [9000.0, 200.0, 3100.0, 150.0, 60.0, 210.0, 40.0, 22.0, 31.0, 17.0, 19.0, 12.0]
    _, shown, signal = seen([perplexity(metric="surprise", step=i, value=v) for i, v in enumerate(values, 1)])
    assert shown.verdict == "improved"
    assert signal.main.rating.improved


def banded(*values: float, n: int = 14_042, **changes: Any) -> Standing:
    band = {"constant": (0.23, 0.27), "fixed_choices": True} | changes
    return seen([accuracy(value=v, n=n, step=i, **band) for i, v in enumerate(values)])[1]


def test_a_curve_is_in_the_band_if_every_interval_reaches_into_it() -> None:
    assert banded(0.226, 0.25, 0.272).in_band
    assert not banded(0.25, 0.29).in_band
    assert banded(0.25, 0.29, n=400).in_band


def test_where_answers_are_texts_of_their_own_there_is_no_band_to_be_in() -> None:
    assert not banded(0.25, 0.25, fixed_choices=False).in_band
    assert not banded(0.25, 0.25, constant=None).in_band


def test_a_noisy_curve_whose_ends_happen_to_differ_shows_nothing() -> None:
    values = [0.5, 0.7, 0.48, 0.69, 0.52, 0.71, 0.5, 0.72]
    _, shown, _ = seen([accuracy(step=step, value=value, n=2000) for step, value in enumerate(values, 1)])
    assert shown.verdict == "no trend"


def test_two_checkpoints_that_differ_clearly_have_a_best() -> None:
    curve, shown, _ = seen([accuracy(step=1, value=0.3, n=1000), accuracy(step=2, value=0.6, n=1000)])
    assert shown.verdict == "too few checkpoints"
    best = best_row(curve)
    assert best is not None
    assert best.step == 2


def test_two_checkpoints_within_their_noise_have_none() -> None:
    curve, _, _ = seen([accuracy(step=1, value=0.5, n=50), accuracy(step=2, value=0.52, n=50)])
    assert best_row(curve) is None


def test_a_curve_of_guesses_has_no_best() -> None:
    curve, shown, _ = seen(rising("t", [1, 2, 3], low=0.25, high=0.25, n=400))
    assert shown.at_chance
    assert best_row(curve) is None
