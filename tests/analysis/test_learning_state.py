"""Where a curve stands, in a few words: what makes other statements meaningless comes first."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.analysis import rows
from milepost.analysis.curves import curves
from milepost.analysis.improvement import CurveProgress
from milepost.analysis.intervals import NO_INTERVAL
from milepost.analysis.learning_state import learning_state
from milepost.analysis.training import TrainedCurve
from tests.analysis.made import accuracy

RISING = [0.25, 0.4, 0.6, 0.8, 0.9]
NOISY = [0.6, 0.62, 0.61, 0.6, 0.615]
FLAT = [0.25, 0.26, 0.24, 0.25, 0.255]


def trained(values: list[float], *, n: int = 400, tested: bool = True, **changes: Any) -> TrainedCurve:
    shown = {
        name: changes.pop(name)
        for name in ("plateau_since", "regressed", "improved", "too_few_docs")
        if name in changes
    }
    measured = [accuracy(value=value, n=n, step=100 * i, **changes) for i, value in enumerate(values, 1)]
    progress = CurveProgress(
        best=len(values) - 1,
        worst=0,
        gain=values[-1] - values[0],
        gain_interval=NO_INTERVAL,
        gain_p=0.0,
        as_good=(len(values) - 1,),
        **{"plateau_since": None, "regressed": False, "improved": True, **shown},
    )
    return TrainedCurve(
        curve=curves(rows(measured))[0],
        progress=progress if tested else None,
        gain=values[-1] - values[0],
        gain_interval=NO_INTERVAL,
    )


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (trained([0.4]), "one checkpoint only"),
        (trained(RISING, n=4), "too few docs to tell"),
        (trained(RISING, too_few_docs=True), "too few docs to tell"),
        (trained(FLAT, constant=(0.23, 0.27), fixed_choices=True), "inside the constant-answer band"),
        (trained(FLAT, improved=False), "at chance"),
        (trained(RISING, regressed=True), "worse than its best"),
        (trained(RISING, plateau_since=2), "plateau"),
        (trained(NOISY, plateau_since=0, improved=False), "no improvement shown"),
        (trained(RISING), "still learning"),
    ],
)
def test_a_curve_stands_where_the_first_of_these_applies(curve: TrainedCurve, expected: str) -> None:
    assert learning_state(curve) == expected


def test_without_stored_docs_the_values_alone_are_rated() -> None:
    assert learning_state(trained(RISING, tested=False)) == "still learning"
    assert learning_state(trained(RISING[::-1], tested=False)) == "worse than its best"
    assert learning_state(trained([0.6, 0.62, 0.61, 0.6, 0.615], tested=False)) == "no improvement shown"
