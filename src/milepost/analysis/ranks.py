"""Compute rank correlations in numpy, because importing scipy.stats takes longer than rating a series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ranks(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return [N] ranks from 1; equal values share their mean rank."""
    array = np.asarray(values)
    order = array.argsort()
    ordered = array[order]
    if not (ordered[1:] == ordered[:-1]).any():  # the usual case, five times as fast as the code below
        found = np.empty(len(array))
        found[order] = np.arange(1, len(array) + 1)
        return found
    _, place, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def spearman(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Return Spearman's rank correlation, -1 to 1: Pearson's of the ranks; None if one input is constant.

    Source: Spearman, American Journal of Psychology 15 (1904), 72-101.
    """
    ranks_1, ranks_2 = ranks(first), ranks(second)
    return _cosine(ranks_1 - ranks_1.mean(), ranks_2 - ranks_2.mean())


def kendall(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Return Kendall's tau-b, -1 to 1: share of pairs in the same order minus opposite; None if constant.

    Source: Kendall, Biometrika 33 (1945), 239-251, for ties.
    """
    return _cosine(_orders(first), _orders(second))


def _cosine(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float | None:
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale > 0 else None


def _orders(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the sign of the difference of every pair."""
    array = np.asarray(values, dtype=np.float64)
    above, below = np.triu_indices(len(array), k=1)
    return np.sign(array[above] - array[below])
