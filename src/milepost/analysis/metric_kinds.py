"""Properties of a metric by its name: range, proportion or not, ratio scale or not.

Names are lm_eval's (lm_eval/api/metrics.py). A metric that is not listed here is any real number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

_INF = math.inf

_RANGES = {
    "exact_match": (0.0, 1.0),
    "em": (0.0, 1.0),
    "f1": (0.0, 1.0),
    "likelihood": (0.0, 1.0),
    "prob_right": (0.0, 1.0),
    "bpb_right": (0.0, _INF),
    "entropy": (0.0, _INF),
    "ece": (0.0, 1.0),
    "pick_entropy": (0.0, _INF),
    "pick_bias": (0.0, 1.0),
    "mcc": (-1.0, 1.0),
    "perplexity": (1.0, _INF),
    "word_perplexity": (1.0, _INF),
    "byte_perplexity": (1.0, _INF),
    "token_perplexity": (1.0, _INF),
    "guide_perplexity": (1.0, _INF),
    "bits_per_byte": (0.0, _INF),
    "loss": (0.0, _INF),
    "brier_score": (0.0, 2.0),
    "bleu": (0.0, 100.0),
    "chrf": (0.0, 100.0),
    "ter": (0.0, _INF),
    "exact": (0.0, 100.0),
    "HasAns_exact": (0.0, 100.0),
    "NoAns_exact": (0.0, 100.0),
    "HasAns_f1": (0.0, 100.0),
    "NoAns_f1": (0.0, 100.0),
}

FEWEST_CHECKPOINTS = 4
"""Fewest checkpoints for a trend of an accuracy, whose noise from docs is known: three points rise by luck
once in six times."""
FEWEST_CHECKPOINTS_OF_OTHERS = 6
"""Fewest checkpoints for a trend of any other metric, which need these to show its noise."""

FAR_APART = 2.0
"""Largest over smallest value from which a metric that nobody declared is judged by its logarithm."""

_EXACT = frozenset({"exact_match", "em"})
_PERCENTAGES = frozenset({"exact", "HasAns_exact", "NoAns_exact"})


def is_proportion(metric: str) -> bool:
    """Return whether the metric is a share of right answers: `exact_match`, `acc` and every `acc_*`."""
    return metric in _EXACT or metric == "acc" or metric.startswith("acc_")


def is_percentage(metric: str) -> bool:
    """Return whether the metric is squadv2's share of right answers, of which each right one counts 100."""
    return metric in _PERCENTAGES


def is_shown_beside_first(metric: str) -> bool:
    """Return whether a metric is a task's main one besides the first: F1, by which squadv2 is read."""
    return metric == "f1"


def value_range(metric: str, values: Iterable[float] = ()) -> tuple[float, float]:
    """Return the lowest and highest possible value; infinite if unbounded or unknown.

    Args:
        values: some of the metric's; F1 is a share for most tasks, and points of a hundred for squadv2.
    """
    if is_proportion(metric):
        return 0.0, 1.0
    low, high = _RANGES.get(metric, (-_INF, _INF))
    return (low, 100.0) if high == 1.0 and any(value > 1.0 for value in values) else (low, high)


def is_ratio_scale(metric: str) -> bool:
    """Return whether equal ratios mean equal progress, as for perplexities (shown on a log axis)."""
    return metric.endswith("perplexity")


def spans_ratios(metric: str, values: Collection[float], *, higher_is_better: bool) -> bool:
    """Return whether a curve is judged by its logarithms.

    That is so for perplexities by their name, and for a metric of the user's own, better if lower, whose
    values are positive and lie so far apart that its noise shrinks with it.
    """
    if is_ratio_scale(metric):
        return True
    if higher_is_better or metric in _RANGES or is_proportion(metric) or min(values) <= 0:
        return False
    return max(values) > FAR_APART * min(values)
