"""Whether a short series goes one way, where its noise may last from one point to the next.

The noise of a training run is not independent from checkpoint to checkpoint: a flat curve that drifts looks
like a trend to any test that assumes so. Two tests that do not, of which either is enough:

- The series is cut into at most 8 parts; the steps from the mean of one part to that of the next are given
  all combinations of signs, and so few of these may add up to as much (R. A. Fisher, The Design of
  Experiments, 1935, section 21). A drift without a goal (a random walk) has steps of either sign alike; where
  noise fades, steps undo each other and the test errs less. It sees smooth curves, whatever their shape.
- The slope of a straight line over its standard error, as (1 + r) / (1 - r) times as uncertain as for
  independent points, where r is the upper 95 % end of the autocorrelation of what is left (the number of
  independent points in an autoregressive series: G. E. P. Box, G. M. Jenkins and G. C. Reinsel, Time Series
  Analysis, section 2.1.5; bias of r as of M. G. Kendall, Biometrika 41 (1954), 403-404). It sees slow, noisy
  ones.

Together they call at most 5 % of flat series a rise, from independent noise to an autocorrelation of 0.95;
`tests/analysis/test_trend.py` simulates it.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import numpy.typing as npt

FEWEST = 6
"""Points below which nothing is said: five that rise one after the other do so by luck once in sixteen
times."""

_PARTS = 8
_SIGNS_LEVEL = 0.032
"""One of the 32 combinations of signs that six points have."""
_SLOPE_LEVEL = 0.985
_UPPER = 1.645
_FEWEST_FOR_SLOPE = 12
"""In fewer points an autocorrelation cannot be told from a trend."""


def direction(values: npt.ArrayLike) -> int:
    """1 where the series rises, -1 where it falls, 0 where neither can be told.

    Args:
        values: [N] finite, in their order.
    """
    series = np.asarray(values, dtype=np.float64)
    if len(series) < FEWEST or np.ptp(series) == 0:
        return 0
    if _rises_by_signs(series) or _rises_by_slope(series):
        return 1
    return -1 if _rises_by_signs(-series) or _rises_by_slope(-series) else 0


def _rises_by_signs(series: npt.NDArray[np.float64]) -> bool:
    parts = np.array_split(series, min(_PARTS, len(series)))
    steps = np.diff([part.mean() for part in parts])
    sums = _signs(len(steps)) @ steps
    as_far = sums >= steps.sum() - 1e-9 * np.abs(steps).sum()
    return bool(as_far.mean() <= _SIGNS_LEVEL)


@functools.cache
def _signs(n: int) -> npt.NDArray[np.float64]:
    """[2 ** n, n] every combination of signs."""
    return np.asarray(list(itertools.product((1.0, -1.0), repeat=n)))


def _rises_by_slope(series: npt.NDArray[np.float64]) -> bool:
    from scipy.special import stdtrit

    n = len(series)
    if n < _FEWEST_FOR_SLOPE:
        return False
    place = np.arange(n) - (n - 1) / 2
    spread = float((place**2).sum())
    slope = float(series @ place) / spread
    left = series - series.mean() - slope * place
    squares = float((left**2).sum())
    if slope <= 0 or squares <= 1e-18 * float((series**2).sum()):
        return slope > 0
    observed = float((left[1:] * left[:-1]).sum()) / squares
    r = min(0.99, max(0.0, (observed + 2 / n) / (1 - 4 / n) + _UPPER / math.sqrt(n)))
    error = math.sqrt(squares / (n - 2) / spread * (1 + r) / (1 - r))
    return slope / error > float(stdtrit(n - 2, _SLOPE_LEVEL))
