"""Properties of a metric by its name: range, proportion or not, ratio scale or not.

Names are lm_eval's (lm_eval/api/metrics.py). A metric that is not listed here is any real number.
"""

from __future__ import annotations

import math

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
}

_EXACT = frozenset({"exact_match", "em"})


def is_proportion(metric: str) -> bool:
    """Return whether the metric is a share of right answers: `exact_match`, `acc` and every `acc_*`."""
    return metric in _EXACT or metric == "acc" or metric.startswith("acc_")


def value_range(metric: str) -> tuple[float, float]:
    """Return the lowest and highest possible value; infinite if unbounded or unknown."""
    if is_proportion(metric):
        return 0.0, 1.0
    return _RANGES.get(metric, (-_INF, _INF))


def is_ratio_scale(metric: str) -> bool:
    """Return whether equal ratios mean equal progress, as for perplexities (shown on a log axis)."""
    return metric.endswith("perplexity")
