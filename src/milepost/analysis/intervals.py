"""95 % intervals around a measured figure. Knows the harness's standard errors, not where they come from."""

from __future__ import annotations

import math
from typing import NamedTuple

from milepost.analysis.metrics import is_proportion, value_range

Z95 = 1.96
"""Half-width in standard errors, rounded as everyone who writes "± 1.96 stderr" rounds it."""


class Interval(NamedTuple):
    """Ends of a 95 % interval in the metric's own unit; both None where none can be given."""

    low: float | None
    high: float | None


NO_INTERVAL = Interval(None, None)


def wilson(share: float, n: int) -> Interval:
    """Wilson score interval of a proportion: inside [0, 1], and of some width even at 0 and 1.

    Args:
        share: proportion of successes, 0 to 1.
        n: trials, at least 1.

    Source: E. B. Wilson, JASA 22 (1927), 209-212; recommended over ±1.96 stderr for shares near the edges
    by Brown, Cai and DasGupta, Statistical Science 16 (2001), 101-133. For the mean of scores between 0 and 1
    that are not all 0 or 1 it errs on the wide side, since none has more variance than a coin.
    """
    z2 = Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def interval(
    metric: str, value: float | None, stderr: float | None, n: int, *, pooled: bool = False
) -> Interval:
    """95 % interval of one figure.

    `value ± 1.96 stderr` wherever that is fair: it is what readers of lm_eval's tables compute by hand
    (Miller, "Adding Error Bars to Evals", arXiv 2411.00640, section 2.1). Where it is not:

    - a proportion whose stderr is 0 or missing, or whose interval would leave [0, 1], gets Wilson's interval;
    - any other metric is cut at the ends of its range (a perplexity is never below 1), which cannot lose
      coverage; without a positive stderr it gets no interval.

    Args:
        metric: lm_eval's name of the metric.
        value: the figure; None where the model gave no number.
        stderr: the harness's standard error; None where it has none ("N/A").
        n: docs behind the figure.
        pooled: the figure is a group's. A group without stderr may weigh its tasks unevenly, so that n says
            nothing about its error: no interval.
    """
    if value is None:
        return NO_INTERVAL
    lowest, highest = value_range(metric)
    if stderr is not None and stderr > 0:
        low, high = value - Z95 * stderr, value + Z95 * stderr
        if is_proportion(metric) and (low < lowest or high > highest) and n > 0 and 0 <= value <= 1:
            return wilson(value, n)
        return Interval(min(value, max(low, lowest)), max(value, min(high, highest)))
    if is_proportion(metric) and n > 0 and 0 <= value <= 1 and not (pooled and stderr is None):
        return wilson(value, n)
    return NO_INTERVAL
