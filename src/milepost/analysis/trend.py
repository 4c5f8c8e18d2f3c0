"""Test whether a short series rises or falls, if its noise is correlated from point to point.

The noise of a training run is not independent between checkpoints, so a flat curve that drifts looks like a
trend to a test that assumes independence. Two tests do not assume it; a trend needs only one of them:

- The series is cut into at most 8 parts. The differences between the means of neighbouring parts get all
  combinations of signs, and few of these may have as large a sum (R. A. Fisher, The Design of Experiments,
  1935, section 21). In a random walk both signs are equally likely; with shorter correlation, differences
  cancel and the test errs less. This test finds smooth curves of any shape.
- The slope of a straight line over its standard error, with (1 + r) / (1 - r) times the variance of
  independent points, where r is the upper 95 % end of the autocorrelation of the residuals (the number of
  independent points in an autoregressive series: G. E. P. Box, G. M. Jenkins and G. C. Reinsel, Time Series
  Analysis, section 2.1.5; bias of r as in M. G. Kendall, Biometrika 41 (1954), 403-404). This test finds
  slow, noisy trends.

Together they call at most 5 % of flat series a rise, from independent noise to an autocorrelation of 0.95;
`tests/analysis/test_trend.py` simulates it.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import numpy.typing as npt

from milepost.analysis.student_t import upper_t

FEWEST = 6
"""Fewest points of a trend: five points rise one after the other by luck once in sixteen times."""

_PARTS = 8
_SIGNS_LEVEL = 0.05
"""Level of the test of signs where it is the only one."""
_SIGNS_LEVEL_BESIDE_SLOPE = 0.032
_SLOPE_LEVEL = 0.015
_UPPER = 1.645
_FEWEST_FOR_SLOPE = 12
"""Fewest points at which autocorrelation can be separated from a trend."""


def direction(values: npt.ArrayLike) -> int:
    """Return 1 if the series rises, -1 if it falls, 0 if neither is shown.

    Args:
        values: [N] finite values in order.
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
    as_large = sums >= steps.sum() - 1e-9 * np.abs(steps).sum()
    is_alone = len(series) < _FEWEST_FOR_SLOPE
    return bool(as_large.mean() <= (_SIGNS_LEVEL if is_alone else _SIGNS_LEVEL_BESIDE_SLOPE))


@functools.cache
def _signs(n: int) -> npt.NDArray[np.float64]:
    """Return [2 ** n, n] every combination of signs."""
    return np.asarray(list(itertools.product((1.0, -1.0), repeat=n)))


def _rises_by_slope(series: npt.NDArray[np.float64]) -> bool:
    n = len(series)
    if n < _FEWEST_FOR_SLOPE:
        return False
    place = np.arange(n) - (n - 1) / 2
    spread = float((place**2).sum())
    slope = float(series @ place) / spread
    residuals = series - series.mean() - slope * place
    squares = float((residuals**2).sum())
    if slope <= 0 or squares <= 1e-18 * float((series**2).sum()):
        return slope > 0
    observed = float((residuals[1:] * residuals[:-1]).sum()) / squares
    r = min(0.99, max(0.0, (observed + 2 / n) / (1 - 4 / n) + _UPPER / math.sqrt(n)))
    error = math.sqrt(squares / (n - 2) / spread * (1 + r) / (1 - r))
    return slope / error > upper_t(n - 2, _SLOPE_LEVEL)
