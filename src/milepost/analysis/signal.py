"""Rate whether a curve is worth watching: does it move beyond noise, chance and constant answers?

Works on (step, value, n) curves, so that published curves can be rated as well.

Sources of the quantities:

- FineTasks (Kydlíček et al., 2024, huggingface.co/spaces/HuggingFaceFW/blogpost-fine-tasks) chooses early
  tasks by monotonicity (Spearman's rank correlation of step and score), low noise, distance from the random
  baseline in standard deviations (at least 3) and consistent ordering of models (Kendall's tau of
  consecutive steps).
- "Signal and Noise" (Heineman et al., arXiv 2508.13144): noise is the relative standard deviation of the last
  checkpoints, signal the largest relative difference between models; see `agreement` for several series.
- E2LM (arXiv 2506.07731) names signal quality (monotonicity, autocorrelation) and ranking consistency. Its
  ranking score and its weighted total need checkpoints that only the organisers have
  (e2lmc.github.io/evaluations), so they are not computed here. Spearman's correlation and the lag-1
  autocorrelation are the textbook ones.
- Miller, arXiv 2411.00640, for standard errors of accuracies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from milepost.analysis import trend
from milepost.analysis.beta import betainc
from milepost.analysis.few import rate_few, where
from milepost.analysis.intervals import Z95
from milepost.analysis.metric_kinds import FEWEST_CHECKPOINTS
from milepost.analysis.points import Points as Points
from milepost.analysis.ranks import spearman
from milepost.text.language import Phrase, joined

Verdict = Literal[
    "watch", "no steady trend", "too noisy at this scale", "at chance", "too few checkpoints", "too few docs"
]

LAST = 5
"""Most checkpoints that are averaged at either end of a series."""
Z_TREND = 1.645
"""One-sided level of 5 %."""
Z_EVER_ABOVE = 3.0
"""FineTasks' distance from chance for the best of many checkpoints, whose value is high by selection."""
ABOVE_LEVEL = 0.025
"""One-sided level of "above chance": 1.96 standard errors for many docs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """The rating of a curve. Gains are positive if the metric gets better, in whichever direction."""

    n_checkpoints: int
    last: int
    """k: number of checkpoints that are averaged at either end."""
    start: float
    """Mean of the first k; for a perplexity the geometric mean."""
    level: float
    """Mean of the last k."""
    spearman: float | None
    """Rank correlation of step and value, positive if it gets better; None if all values are equal."""
    autocorrelation: float | None
    """Lag-1 autocorrelation: near 0 for noise around a level, near 1 for a smooth curve."""
    from_chance: float | None
    """(level - chance) in standard errors of one value; None without a chance level."""
    snr: float | None
    """|level - start| over the standard deviation of the last k checkpoints. The ratio of Signal and Noise
    needs several models; for one model, the signal is its change in training."""
    gain_sigmas: float
    """(level - start) in standard errors, for a perplexity of logarithms; see `rate`."""
    steady: int
    """1 if it gets better steadily, -1 if it gets worse steadily, 0 if neither is shown."""
    in_band: bool
    """True if every checkpoint's 95 % interval reaches into the band of constant answers."""
    verdict: Verdict
    reason: str
    """Reason of the verdict in a few words; a phrase, which is translated when it is shown."""

    @property
    def improved(self) -> bool:
        """True if it is above chance and got better steadily, beyond its noise."""
        return self.verdict == "watch" and self.gain_sigmas > Z95

    @property
    def worsened(self) -> bool:
        """True if it is above chance and got worse steadily, beyond its noise."""
        return self.verdict == "watch" and self.gain_sigmas < -Z95


def rate(points: Points, last: int = LAST) -> Rating:
    """Rate one curve.

    A curve improved if two conditions hold, which both hold for less than one in twenty flat curves, even if
    noise is correlated between checkpoints:

    - the mean of the last k checkpoints is better than that of the first k by more than 1.96 standard errors.
      One part of the variance is the noise between neighbouring checkpoints, 2 s²/k with s² = mean of squared
      differences / 2 (von Neumann, Annals of Mathematical Statistics 12 (1941), 367-395), which a trend
      hardly changes. For accuracies the other part is the sampling of docs, as if each end had different
      docs; for metrics such as bits per byte the spread of docs is common to both ends and cancels;
    - it goes one way: by the tests of `trend`, or for an accuracy with too few checkpoints for these, if
      Spearman's correlation of step and value, times sqrt(N - 1), is above 1.645.

    A perplexity is rated by its logarithm, whose noise does not shrink as the perplexity falls.

    `at chance`: the curve is not above the chance level, nor (if all docs have the same choices) above the
    best constant answer, neither at its end (one-sided 2.5 %) nor anywhere (2.5 % over all checkpoints). An
    accuracy is tested by the binomial distribution, other metrics by 1.96 and 3 standard errors. `watch`: it
    is above and moves. `no steady trend`: it is above, and its ends differ by more than 1.96 standard errors,
    but it does not go one way. `too few checkpoints`: it is above, and has too few for a trend. Everything
    else is `too noisy at this scale`.

    Args:
        points: at least one checkpoint.
        last: largest k; k is never more than half of the checkpoints.
    """
    sign = 1.0 if points.higher_is_better else -1.0
    values = points.rated()
    errors = points.errors()
    n = len(values)
    k = max(1, min(last, n // 2))
    start, level = float(values[:k].mean()), float(values[-k:].mean())
    noise = float(values[-k:].std(ddof=1)) if k > 1 else 0.0
    rank = spearman(points.steps, values)
    draft = Rating(
        n_checkpoints=n,
        last=k,
        start=points.in_unit(start),
        level=points.in_unit(level),
        spearman=None if rank is None else sign * rank,
        autocorrelation=autocorrelation(values),
        from_chance=_from_chance(points, level, errors),
        snr=abs(level - start) / noise if noise > 0 else None,
        gain_sigmas=sign * _sigmas(level - start, values, points.docs_errors(), k),
        steady=int(sign) * _steady(points, values),
        in_band=points.in_band,
        verdict="too few checkpoints",
        reason="",
    )
    return _with_verdict(draft, points, values, errors)


def autocorrelation(values: npt.ArrayLike) -> float | None:
    """Return the lag-1 autocorrelation around the mean of all values; None if all are equal.

    Source: Box, Jenkins and Reinsel, Time Series Analysis, section 2.1.5.
    """
    array = np.asarray(values, dtype=np.float64)
    around = array - array.mean()
    scale = float((around**2).sum())
    return float((around[1:] * around[:-1]).sum()) / scale if scale > 0 and len(around) > 1 else None


def _sigmas(gain: float, values: npt.NDArray[np.float64], errors: npt.NDArray[np.float64], k: int) -> float:
    between = float((np.diff(values) ** 2).mean()) / 2 if len(values) > 1 else 0.0
    sampling = float((errors[:k] ** 2).mean() + (errors[-k:] ** 2).mean())
    scale = math.sqrt(sampling + 2 * between / k)
    return gain / scale if scale > 0 else 0.0


def _steady(points: Points, values: npt.NDArray[np.float64]) -> int:
    if len(values) >= trend.FEWEST:
        return trend.direction(values)
    has_rank = points.is_accuracy and len(values) >= FEWEST_CHECKPOINTS
    rank = spearman(points.steps, values) if has_rank else None
    is_steady = rank is not None and abs(rank) * math.sqrt(len(values) - 1) > Z_TREND
    return int(math.copysign(1, rank)) if rank is not None and is_steady else 0


def _from_chance(points: Points, level: float, errors: npt.NDArray[np.float64]) -> float | None:
    error = float(errors[-1])
    return (level - points.chance) / error if points.chance is not None and error > 0 else None


def _with_verdict(
    draft: Rating, points: Points, values: npt.NDArray[np.float64], errors: npt.NDArray[np.float64]
) -> Rating:
    verdict: Verdict
    reason: str
    if draft.n_checkpoints < points.fewest_checkpoints:
        verdict, reason = rate_few(points)
        return replace(draft, verdict=verdict, reason=reason)
    differs = abs(draft.gain_sigmas) > Z95
    moves = differs and draft.steady * draft.gain_sigmas > 0
    if points.n < points.fewest_docs:
        verdict, reason = "too few docs", Phrase("fewer than {n}", n=points.fewest_docs)
    elif not _is_above(points, draft, values, errors):
        verdict = "at chance"
        how = Phrase("moves, {ends}", ends=_ends(draft)) if moves else Phrase("no improvement shown")
        reason = joined(", ", (where(points, in_band=draft.in_band), how))
    elif moves:
        verdict = "watch"
        way = Phrase("improves") if draft.gain_sigmas > 0 else Phrase("gets worse")
        reason = joined(", ", (way, _ends(draft)))
    else:
        verdict = "no steady trend" if differs else "too noisy at this scale"
        reason = _without_trend(draft, is_above_chance=points.chance is not None, differs=differs)
    return replace(draft, verdict=verdict, reason=reason)


def _is_above(
    points: Points, draft: Rating, values: npt.NDArray[np.float64], errors: npt.NDArray[np.float64]
) -> bool:
    floor = points.floor
    if floor is None:
        return True
    k = draft.last
    windows = np.convolve(values, np.ones(k) / k, mode="valid")
    if points.is_accuracy:
        n = _independent_docs(points, errors)
        at_end, ever = (_luck(share, n, floor) for share in (draft.level, float(windows.max())))
        return at_end < ABOVE_LEVEL or ever * len(windows) < ABOVE_LEVEL
    at_end = draft.level - floor > Z95 * errors[-1]
    highest = float(windows.max()) - floor > Z_EVER_ABOVE * float(errors.max())
    return bool(at_end or highest)


def _independent_docs(points: Points, errors: npt.NDArray[np.float64]) -> float:
    """Return the number of docs that would give the accuracy its standard error.

    It is smaller than the number of docs in a group whose small tasks count as much as large ones.
    """
    shares = np.asarray(points.values)
    known = (errors > 0) & (shares > 0) & (shares < 1)
    if not points.stderr or not known.any():
        return float(points.n)
    return min(
        float(points.n), float(np.median(shares[known] * (1 - shares[known]) / errors[known] ** 2)) + 1
    )


def _luck(share: float, n: float, floor: float) -> float:
    """Return how often guessing (`floor`) gets at least this share of n docs right.

    The upper tail of a binomial, also between integers (the regularised incomplete beta function).
    """
    right = share * n
    if right <= 0 or floor >= 1:
        return 1.0
    return betainc(right, n - right + 1, max(0.0, floor))


def _without_trend(draft: Rating, *, is_above_chance: bool, differs: bool) -> str:
    if differs and is_above_chance:
        return Phrase("above chance; moves, {ends}", ends=_ends(draft))
    if differs:
        return Phrase("moves, {ends}", ends=_ends(draft))
    if is_above_chance:
        return Phrase("above chance, but no trend beyond its noise")
    return Phrase("no trend beyond its noise")


def _ends(draft: Rating) -> str:
    return f"{draft.start:.4g} → {draft.level:.4g}"
