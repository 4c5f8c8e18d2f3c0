"""What one window, or one document, contributes to a perplexity: pairs of log-likelihood and weight.

lm_eval's own aggregations make figures of them: `weighted_perplexity` is exp of minus the weighted mean.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lm_eval.api.metrics import weighted_perplexity

Pair = tuple[float, float]

NO_FIGURE = "N/A"


def fixed_windows(doc: dict[str, Any], results: Sequence[float]) -> dict[str, Pair]:
    """The pruning papers' arithmetic: a window's mean loss over its seqlen - 1 predictions, times seqlen,
    summed over windows and divided by their seqlen tokens. Equal to the mean over all predictions, for the
    windows are of one length. Source: Wanda, lib/eval.py, `eval_ppl_wikitext`."""
    (loglikelihood,) = results
    seqlen = doc["n_targets"] + 1
    return {
        "token_perplexity": (loglikelihood / doc["n_targets"] * seqlen, seqlen),
        "loss": (loglikelihood, doc["n_targets"]),
    }


def each_token_once(doc: dict[str, Any], results: Sequence[float]) -> dict[str, Pair]:
    """The mean over all predicted tokens."""
    (loglikelihood,) = results
    pair = (loglikelihood, doc["n_targets"])
    return {"token_perplexity": pair, "loss": pair}


def sliding_windows(doc: dict[str, Any], results: Sequence[float]) -> dict[str, Pair]:
    """As `each_token_once`, and beside it the figure of the guide of transformers, which weighs the mean of
    a window by one token less than its labels, also where all of them are predicted."""
    (loglikelihood,) = results
    n = doc["n_targets"]
    weight = n - 1 if doc["sees_more"] else n
    return {
        "token_perplexity": (loglikelihood, n),
        "guide_perplexity": (loglikelihood / n * weight, weight),
        "loss": (loglikelihood, n),
    }


def documents(doc: dict[str, Any], results: Sequence[float]) -> dict[str, Pair]:
    """lm_eval's word and byte units (lm_eval/tasks/wikitext/preprocess_wikitext.py, `process_results`)."""
    (loglikelihood,) = results
    n_words, n_bytes = len(re.split(r"\s+", doc["text"])), len(doc["text"].encode())
    return {
        "word_perplexity": (loglikelihood, n_words),
        "byte_perplexity": (loglikelihood, n_bytes),
        "bits_per_byte": (loglikelihood, n_bytes),
    }


def perplexity(pairs: Sequence[Pair]) -> float | str:
    """lm_eval's `weighted_perplexity`, and its word for no figure where that overflows: a text without spaces
    is one word of thousands of nats."""
    try:
        return float(weighted_perplexity(pairs))
    except OverflowError:
        return NO_FIGURE


def nats_per_token(pairs: Sequence[Pair]) -> float:
    """The mean loss, as training logs show it."""
    return -sum(loglikelihood for loglikelihood, _ in pairs) / sum(weight for _, weight in pairs)
