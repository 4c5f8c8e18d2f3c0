"""Rank correlations. In numpy, because importing scipy.stats takes longer than rating a whole series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ranks(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """[N] ranks from 1; equal values share the mean of theirs."""
    array = np.asarray(values)
    order = array.argsort()
    ordered = array[order]
    if not (ordered[1:] == ordered[:-1]).any():  # five times as fast as what follows, and usual
        found = np.empty(len(array))
        found[order] = np.arange(1, len(array) + 1)
        return found
    _, place, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def spearman(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Spearman's rank correlation, -1 to 1: Pearson's of the ranks; None where either is constant.

    Source: Spearman, American Journal of Psychology 15 (1904), 72-101.
    """
    one, two = ranks(first), ranks(second)
    one, two = one - one.mean(), two - two.mean()
    scale = float(np.sqrt((one**2).sum() * (two**2).sum()))
    return float((one * two).sum()) / scale if scale > 0 else None


def kendall(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Kendall's tau-b, -1 to 1: pairs in the same order less those in opposite order; None if constant.

    Source: Kendall, Biometrika 33 (1945), 239-251, for ties.
    """
    one, two = _orders(first), _orders(second)
    scale = float(np.sqrt((one**2).sum() * (two**2).sum()))
    return float((one * two).sum()) / scale if scale > 0 else None


def _orders(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Sign of the difference of every pair."""
    array = np.asarray(values, dtype=np.float64)
    above, below = np.triu_indices(len(array), k=1)
    return np.sign(array[above] - array[below])
