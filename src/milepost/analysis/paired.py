"""Is the difference between two models real? Tests and intervals over what both answered, doc by doc.

Pairing is what makes small differences visible: two models find the same docs hard, and only the docs on
which they differ say anything about which is better. Knows arrays of values per doc; not where they come
from, and not which difference is an improvement. Differences are always `other - original`.

D is the number of docs, aligned: element i of both arrays is the same doc.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.doc_values import plainly
from milepost.analysis.intervals import NO_INTERVAL, Z95, Interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

ALPHA = 0.05
"""Share of wrong alarms that a verdict may give where there is no difference."""

RESAMPLES = 9_999
"""So that the smallest p-value, 1 / 10,000, survives Holm's factor for MMLU's 57 subjects."""

FEWEST_RESAMPLES = 1_999
"""For tasks of very many docs; in between, as many as draw `_DRAWN_AT_MOST` docs in all."""

SEED = 20_240_601

CAUTION = 1.1
"""The bootstrap's p-values are those of draws spread by a tenth more. As they come they fall below 0.05 for 4
to 6 % of equally good pairs, by the shape of the scores; so, for 3 to 4 %: no verdict errs too often."""

_Z_POWER = 1.96 + 0.8416
"""A difference of this many standard errors is found at level 0.05 with a chance of 0.8."""

_DRAWN_AT_MOST = 40_000_000
"""Half a second of drawing."""

_GATHERED = 4_000_000
"""Resampled docs held at once: 32 MB per column."""


class Flips(NamedTuple):
    """How many docs changed sides between two models."""

    lost: int
    """Right for the original, wrong for the other."""
    gained: int
    """Wrong for the original, right for the other."""


class Paired(NamedTuple):
    """What the docs say about `other - original`."""

    difference: float
    """In the figure's own unit."""
    interval: Interval
    """95 %."""
    p_value: float
    """Two-sided, against "both are equally good"; not adjusted for other tests."""
    smallest: float
    """The smallest true difference that docs like these show in four of five such samples."""


# ---- right or wrong ------------------------------------------------------------------------------------


def flips(original: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> Flips:
    """Docs ([D] right or not) that one model answers right and the other wrong."""
    return Flips(int((original & ~other).sum()), int((other & ~original).sum()))


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value of McNemar's test; 1 where no doc changed sides.

    Under "equally good", each doc that changed sides is a fair coin, whatever the others are: a binomial test
    of `lost` against `gained`. Never errs more often than its level. Source: Q. McNemar, Psychometrika 12
    (1947), 153-157; the exact form in A. Agresti, Categorical Data Analysis, 3rd ed., section 11.1.1.
    """
    from scipy.special import bdtr

    changed = lost + gained
    if changed == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(lost, gained), changed, 0.5)))


def proportions_interval(changed: Flips, n: int) -> Interval:
    """95 % interval of the difference of two shares measured on the same `n` docs.

    Bonett and Price's adjusted Wald interval (D. G. Bonett and R. M. Price, Journal of Educational and
    Behavioral Statistics 37 (2012), 479-488): one doc is added to each way of changing sides. It keeps its
    coverage at small n and has some width even where no doc changed sides, which the plain Wald interval
    has not.
    """
    lost, gained, docs = changed.lost + 1, changed.gained + 1, n + 2
    centre = (gained - lost) / docs
    half = Z95 * _proportions_stderr(changed, n)
    observed = (changed.gained - changed.lost) / n
    return Interval(min(observed, max(-1.0, centre - half)), max(observed, min(1.0, centre + half)))


def compare_right(original: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> Paired:
    """Two models' right and wrong answers ([D] each, D >= 1): exact McNemar, Bonett and Price's interval."""
    n, changed = len(original), flips(original, other)
    fewest = math.ceil(1 - math.log2(ALPHA)) / n  # that many flips, all one way, are the first to be seen
    return Paired(
        difference=(changed.gained - changed.lost) / n,
        interval=proportions_interval(changed, n),
        p_value=mcnemar(*changed),
        smallest=min(1.0, max(fewest, _Z_POWER * _proportions_stderr(changed, n))),
    )


def _proportions_stderr(changed: Flips, n: int) -> float:
    lost, gained, docs = changed.lost + 1, changed.gained + 1, n + 2
    centre = (gained - lost) / docs
    return math.sqrt(((lost + gained) / docs - centre * centre) / docs)


# ---- any other figure ----------------------------------------------------------------------------------


def paired_bootstrap(
    original: Values,
    other: Values,
    *,
    weights: Values | None = None,
    strata: npt.NDArray[np.int64] | None = None,
    figure: Callable[[Values], Values] = plainly,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Paired:
    """Compare two models' mean (or a monotone function of it) by drawing docs with replacement, in pairs.

    The interval holds the middle of the drawn differences: 95 % of them for many docs, more for few, by the
    factor with which Student's t would be wider (the "expanded percentile interval" of T. C. Hesterberg, The
    American Statistician 69 (2015), 371-386). The p-value is the share of draws, spread by that factor and by
    `CAUTION`, that lie at least as far from the observed difference as that lies from zero, counted in means;
    the observed one is added to both sides of the fraction, so that it is never 0 (Davison and Hinkley,
    Bootstrap Methods and their Application, section 4.4; for scores of language systems, Berg-Kirkpatrick et
    al., EMNLP 2012). Draws depend on `seed` alone: the same docs give the same answer. 14,000 docs take a
    second; where few distinct values occur, milliseconds. A single doc says nothing: no interval, p = 1.

    Args:
        original, other: [D] finite values, D >= 1.
        weights: [D] positive, how much each doc counts in the mean (words, for a perplexity per word); equal
            by default.
        strata: [D] which part a doc belongs to, where each part's number of docs is fixed (a group's tasks).
        figure: what is reported of a mean (`exp`, for a perplexity); monotone, works on arrays.
        resamples: draws; of more than 4,000 docs fewer, at least `FEWEST_RESAMPLES`.
    """
    import numpy as np
    from scipy.special import ndtr

    weights = np.ones(len(original)) if weights is None else weights
    resamples = min(resamples, max(FEWEST_RESAMPLES, _DRAWN_AT_MOST // len(original)))
    # A difference of plain means is the mean of the differences: then nothing else is drawn.
    level = np.zeros(len(original)) if figure is plainly else original
    columns = np.stack([weights * level, weights * (other - original), weights], axis=1)
    parts = [columns] if strata is None else [columns[strata == part] for part in np.unique(strata)]
    generator = np.random.default_rng(seed)
    drawn = np.sum([_drawn_sums(part, resamples, generator) for part in parts], axis=0)
    before, moved = _means(columns.sum(axis=0))
    drawn_before, drawn_moved = _means(drawn)
    difference = float(figure(before + moved) - figure(before))
    if len(original) == 1:
        return Paired(difference, NO_INTERVAL, 1.0, math.inf)
    differences = figure(drawn_before + drawn_moved) - figure(drawn_before)
    wider = _small_sample_factor(len(original))
    outside = float(ndtr(-Z95 * wider))
    low, high = np.quantile(differences, [outside, 1 - outside])
    # Sums of the same numbers in another order differ in their last digits.
    as_far = np.abs(drawn_moved - moved) * wider * CAUTION >= abs(moved) * (1 - 1e-9)
    # What is found in four of five samples, in the direction in which the mean moved.
    reach = math.copysign(_Z_POWER * wider * float(drawn_moved.std()), moved)
    return Paired(
        difference=difference,
        interval=Interval(min(difference, float(low)), max(difference, float(high))),
        p_value=float((1 + as_far.sum()) / (1 + resamples)),
        smallest=abs(float(figure(before + reach) - figure(before))),
    )


def _small_sample_factor(n: int) -> float:
    """How much wider Student's t with the unbiased variance is than what drawing n docs gives."""
    from scipy.special import ndtri, stdtrit

    upper = 1 - ALPHA / 2
    return float(stdtrit(n - 1, upper) / ndtri(upper)) * math.sqrt(n / (n - 1))


def _means(sums: Values) -> tuple[Values, Values]:
    return sums[..., 0] / sums[..., 2], sums[..., 1] / sums[..., 2]


def _drawn_sums(columns: Values, resamples: int, generator: np.random.Generator) -> Values:
    """[resamples, C] sums of D docs drawn with replacement from `columns` [D, C]."""
    import numpy as np

    n = len(columns)
    distinct, counts = np.unique(columns, axis=0, return_counts=True)
    if len(distinct) <= n // 16 or len(distinct) == 1:
        return generator.multinomial(n, counts / n, size=resamples) @ distinct
    sums = np.tile(n * columns[0], (resamples, 1))
    varying = [place for place, values in enumerate(columns.T) if (values != values[0]).any()]
    at_once = max(1, _GATHERED // n)
    for start in range(0, resamples, at_once):
        draws = generator.integers(n, size=(min(at_once, resamples - start), n), dtype=np.int32)
        for place in varying:
            sums[start : start + len(draws), place] = columns[:, place].take(draws).sum(axis=1)
    return sums


# ---- many tests at once --------------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: with all of them below 0.05 or not, the chance that any
    verdict is a wrong alarm stays below 0.05, however the tests depend on each other.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    adjusted = [1.0] * len(p_values)
    so_far = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = so_far
    return adjusted
