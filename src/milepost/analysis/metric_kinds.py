"""What can be known of a metric from its name alone: the range it lives in, and whether it is a proportion.

Names are lm_eval's (lm_eval/api/metrics.py). A metric that is not listed here is a plain real number.
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
    """Whether it is the share of docs answered right: `exact_match`, `acc` and all of its `acc_*` kin."""
    return metric in _EXACT or metric == "acc" or metric.startswith("acc_")


def value_range(metric: str) -> tuple[float, float]:
    """Lowest and highest value that the metric can take; infinite where it has no bound or is not known."""
    if is_proportion(metric):
        return 0.0, 1.0
    return _RANGES.get(metric, (-_INF, _INF))


def is_ratio_scale(metric: str) -> bool:
    """Whether equal ratios mean equal progress, as for perplexities, so that a log axis reads true."""
    return metric.endswith("perplexity")
