"""Whether a task ranks training runs, on runs whose order is known."""

from __future__ import annotations

import numpy as np
import pytest

from milepost.analysis.agreement import agreement
from milepost.analysis.signal import Points


def points(*values: float, steps: tuple[int, ...] = ()) -> Points:
    return Points(steps=steps or tuple(range(len(values))), values=values, n=1000)


def test_runs_that_never_change_places_agree() -> None:
    found = agreement({"a": points(1, 2, 3, 4), "b": points(2, 3, 4, 5), "c": points(3, 4, 5, 6)})
    assert found is not None
    assert (found.kendall, found.consistency) == (1.0, 1.0)


def test_two_runs_that_change_places_each_time_disagree() -> None:
    found = agreement({"a": points(1, 2, 1, 2), "b": points(2, 1, 2, 1)})
    assert found is not None
    assert found.kendall == -1.0
    assert found.consistency == pytest.approx(1 / 3)


def test_only_steps_that_all_runs_have_are_compared() -> None:
    found = agreement({"a": points(1, 2, 3, steps=(10, 20, 30)), "b": points(0, 5, steps=(20, 40))})
    assert found is not None
    assert (found.n_steps, found.kendall, found.consistency) == (1, None, None)
    assert agreement({"a": points(1, steps=(10,)), "b": points(1, steps=(20,))}) is None
    assert agreement({"a": points(1, 2)}) is None


def test_signal_to_noise_reckoned_by_hand() -> None:
    found = agreement({"a": points(0, 0, 0.40, 0.42), "b": points(0, 0, 0.50, 0.54)}, last=2)
    assert found is not None
    signal = (0.52 - 0.41) / np.mean([0.52, 0.41])
    noise = np.mean([np.std([0.40, 0.42], ddof=1) / 0.41, np.std([0.50, 0.54], ddof=1) / 0.52])
    assert found.snr == pytest.approx(signal / noise)


def test_runs_that_differ_by_noise_alone_are_ordered_like_a_coin() -> None:
    draw = np.random.default_rng(0)
    found = [agreement({name: points(*draw.normal(0.3, 0.01, 20)) for name in "abc"}) for _ in range(300)]
    assert abs(np.mean([one.kendall for one in found if one and one.kendall is not None])) < 0.03
    assert np.mean([one.consistency for one in found if one]) == pytest.approx(0.5, abs=0.03)
