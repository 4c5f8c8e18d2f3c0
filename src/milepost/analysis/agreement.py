"""Measure how well a task separates several training runs, in the same order from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from milepost.analysis.ranks import kendall
from milepost.analysis.signal import LAST, Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One task over two or more series, at their common steps."""

    n_series: int
    n_steps: int
    kendall: float | None
    """Mean Kendall's tau between the orders of the series at consecutive steps, -1 to 1: FineTasks' ordering
    consistency. None with fewer than two common steps, or if all series are equal."""
    consistency: float | None
    """Share of pairs of series, over all steps but the last, that have the order of the last step:
    decision accuracy of "Signal and Noise" for the end of the runs. 0.5 is chance; a tie counts 0.5."""
    snr: float | None
    """Signal over noise as in arXiv 2508.13144: the largest difference between the series' means over their
    last k checkpoints, relative to their mean, over the mean relative standard deviation of those."""


def agreement(of_series: Mapping[str, Points], last: int = LAST) -> Agreement | None:
    """Measure how well one task ranks the series; None with fewer than two series or no common step."""
    if len(of_series) < 2:
        return None
    common = set.intersection(*(set(points.steps) for points in of_series.values()))
    steps = sorted(common)
    if not steps:
        return None
    values = np.asarray([_at(points, steps) for points in of_series.values()])
    taus = [kendall(now, then) for now, then in pairwise(values.T)]
    known = [tau for tau in taus if tau is not None]
    return Agreement(
        n_series=len(values),
        n_steps=len(steps),
        kendall=float(np.mean(known)) if known else None,
        consistency=_consistency(values) if len(steps) > 1 else None,
        snr=_snr(values, max(1, min(last, len(steps) // 2))),
    )


def _at(points: Points, steps: Sequence[int]) -> list[float]:
    by_step = dict(zip(points.steps, points.values, strict=True))
    return [by_step[step] for step in steps]


def _consistency(values: npt.NDArray[np.float64]) -> float:
    first, second = np.triu_indices(len(values), k=1)
    orders = np.sign(values[first] - values[second])
    agree = orders[:, :-1] * orders[:, -1:]
    return float(((agree + 1) / 2).mean())


def _snr(values: npt.NDArray[np.float64], k: int) -> float | None:
    ends = values[:, -k:]
    means = ends.mean(axis=1)
    if k < 2 or not np.all(means > 0):
        return None
    signal = float(means.max() - means.min()) / float(means.mean())
    noise = float((ends.std(axis=1, ddof=1) / means).mean())
    return signal / noise if noise > 0 else None
