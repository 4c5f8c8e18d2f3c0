"""Compute the standard error of any metric that lm_eval aggregates.

Means and `acc_all` have lm_eval's closed form. Perplexities are functions of sums over docs, so all resamples
are computed at once, in a tenth of a second: the value that lm_eval's 100,000 resamples in worker processes
approach (lm_eval has no standard error for word_perplexity and its like). Other aggregations, such as F1, MCC
and median, are resampled one by one. All draws have a fixed seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from lm_eval.api.metrics import bits_per_byte, perplexity, stderr_for_metric, weighted_perplexity

from milepost.tasks.lm_eval.perplexity.counting import perplexity as windowed_perplexity

RESAMPLES_OF_SUMS = 2000
RESAMPLES = 200
SEED = 1234


def standard_error(aggregation: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> float | None:
    """Return the standard error of `aggregation(items)`, in the metric's unit; None for fewer than two docs.

    Args:
        items: an entry per doc, from the task's `process_results`.
    """
    if len(items) < 2:
        return None
    if aggregation is perplexity:
        logs = np.asarray(items, dtype=np.float64)
        return _spread(_exp(-_resampled_sums(logs[:, None])[:, 0] / len(logs)))
    if aggregation in (weighted_perplexity, windowed_perplexity, bits_per_byte):
        sums = _resampled_sums(np.asarray(items, dtype=np.float64))
        nats = -sums[:, 0] / sums[:, 1]
        return _spread(nats / math.log(2) if aggregation is bits_per_byte else _exp(nats))
    closed = stderr_for_metric(metric=aggregation, bootstrap_iters=1)
    if closed is not None and getattr(closed, "__name__", "") != "<lambda>":
        return _finite(closed(items))
    draw = random.Random(SEED)
    return _spread([aggregation(draw.choices(items, k=len(items))) for _ in range(RESAMPLES)])


def _resampled_sums(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return [RESAMPLES_OF_SUMS, columns] sums of the rows of `values`, drawn with replacement."""
    draw = np.random.default_rng(SEED)
    n = len(values)
    blocks = []
    for _ in range(0, RESAMPLES_OF_SUMS, 100):  # a block of a large task has some megabytes
        drawn = draw.integers(0, n, size=(100, n))
        blocks.append(values[drawn].sum(axis=1))
    return np.concatenate(blocks)


def _exp(nats: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return exp; an overflow, as of an untrained model on a long text, makes the error None."""
    with np.errstate(over="ignore"):
        return np.exp(nats)


def _spread(resampled: npt.ArrayLike) -> float | None:
    with np.errstate(invalid="ignore"):
        return _finite(np.std(np.asarray(resampled, dtype=np.float64), ddof=1))


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
