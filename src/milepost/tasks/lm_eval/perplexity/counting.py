"""Compute each window's or document's part of a perplexity: pairs of log-likelihood and weight.

lm_eval's own aggregations combine them: `weighted_perplexity` is exp of minus the weighted mean.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lm_eval.api.metrics import weighted_perplexity

Pair = tuple[float, float]

NOT_A_NUMBER = "N/A"


def fixed_windows(doc: dict[str, Any], results: Sequence[float]) -> dict[str, Pair]:
    """Weigh windows as the pruning papers do.

    A window's mean loss over its seqlen - 1 predictions, times seqlen, is summed over windows and divided by
    their tokens. This equals the mean over all predictions, as all windows have the same length. Source:
    Wanda, lib/eval.py, `eval_ppl_wikitext`.
    """
    (loglikelihood,) = results
    seqlen = doc["n_targets"] + 1
    return {
        "token_perplexity": (loglikelihood / doc["n_targets"] * seqlen, seqlen),
        "loss": (loglikelihood, doc["n_targets"]),
    }


def each_token_once(doc: dict[str, Any], results: Sequence[float]) -> dict[str, Pair]:
    """Weigh each predicted token equally."""
    (loglikelihood,) = results
    pair = (loglikelihood, doc["n_targets"])
    return {"token_perplexity": pair, "loss": pair}


def sliding_windows(doc: dict[str, Any], results: Sequence[float]) -> dict[str, Pair]:
    """Add the perplexity of transformers' guide to that of `each_token_once`.

    The guide weighs a window's mean by one token less than its labels, also if all of them are predicted.
    """
    (loglikelihood,) = results
    n = doc["n_targets"]
    weight = n - 1 if doc["sees_more"] else n
    return {
        "token_perplexity": (loglikelihood, n),
        "guide_perplexity": (loglikelihood / n * weight, weight),
        "loss": (loglikelihood, n),
    }


def documents(doc: dict[str, Any], results: Sequence[float]) -> dict[str, Pair]:
    """Weigh by words and bytes, as lm_eval/tasks/wikitext/preprocess_wikitext.py, `process_results`."""
    (loglikelihood,) = results
    n_words, n_bytes = len(re.split(r"\s+", doc["text"])), len(doc["text"].encode())
    return {
        "word_perplexity": (loglikelihood, n_words),
        "byte_perplexity": (loglikelihood, n_bytes),
        "bits_per_byte": (loglikelihood, n_bytes),
    }


def perplexity(pairs: Sequence[Pair]) -> float | str:
    """Return lm_eval's `weighted_perplexity`; `N/A` if it overflows, as for a text without spaces."""
    try:
        return float(weighted_perplexity(pairs))
    except OverflowError:
        return NOT_A_NUMBER


def nats_per_token(pairs: Sequence[Pair]) -> float:
    """Return the mean loss, as training logs show it."""
    return -sum(loglikelihood for loglikelihood, _ in pairs) / sum(weight for _, weight in pairs)
