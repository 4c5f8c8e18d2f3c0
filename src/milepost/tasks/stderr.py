"""The standard error of any metric that lm_eval aggregates.

Means and `acc_all` have lm_eval's closed form. Perplexities are smooth functions of sums over docs and get
the delta method: exact in the limit that lm_eval's bootstrap (100,000 resamples) approaches, in microseconds.
Other aggregations (F1, MCC, BLEU, median) get a bootstrap of 200 resamples with a fixed seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from lm_eval.api.metrics import bits_per_byte, perplexity, stderr_for_metric, weighted_perplexity

RESAMPLES = 200


def standard_error(aggregation: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> float | None:
    """Standard error of `aggregation(items)`, in the metric's own unit; None with fewer than two docs.

    `items` holds one entry per doc, as the task's `process_results` gave it.
    """
    if len(items) < 2:
        return None
    if aggregation is perplexity:
        logs = np.asarray(items, dtype=np.float64)
        return float(math.exp(-logs.mean()) * logs.std(ddof=1) / math.sqrt(len(logs)))
    if aggregation in (weighted_perplexity, bits_per_byte):
        return _ratio_error(aggregation, items)
    closed = stderr_for_metric(metric=aggregation, bootstrap_iters=1)
    if closed is not None and getattr(closed, "__name__", "") != "<lambda>":
        return _finite(closed(items))
    return _bootstrap(aggregation, items)


def _ratio_error(aggregation: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> float:
    """Delta method for a ratio of sums r = Σll / Σweight, then for exp(-r) or -r / ln 2."""
    logs, weights = np.asarray(items, dtype=np.float64).T
    ratio = logs.sum() / weights.sum()
    residual = logs - ratio * weights
    n = len(logs)
    error = math.sqrt(n * residual.var(ddof=1)) / weights.sum()
    return error / math.log(2) if aggregation is bits_per_byte else math.exp(-ratio) * error


def _bootstrap(aggregation: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> float | None:
    draw = random.Random(1234)
    resampled = [aggregation(draw.choices(items, k=len(items))) for _ in range(RESAMPLES)]
    return _finite(np.std(resampled, ddof=1))


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
