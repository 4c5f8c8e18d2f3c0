"""Compare each statistic with an independent, slower computation on random answers."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import numpy as np
from lm_eval.api.metrics import mean, perplexity
from scipy.stats import binomtest

from milepost.analysis.choice_values import doc_metrics
from milepost.analysis.intervals import wilson
from milepost.analysis.paired import Flips, holm, mcnemar, proportions_interval
from milepost.tasks.lm_eval.stderr import standard_error
from milepost.types.choices import Choices


class Differs(AssertionError):
    """A statistic differs from its independent computation."""


def statistics_example(seed: int, work: Path) -> str:
    """Run a check below on random numbers; returns its name. Raises Differs."""
    random = Random(seed)
    check = random.choice(CHECKS)
    check(random)
    return check.__name__.strip("_")


def _wilson(random: Random) -> None:
    n = random.choice((1, 2, 5, 30, 1000, 20_000))
    k = random.choice((0, n, random.randint(0, n)))
    exact = binomtest(k, n).proportion_ci(method="wilson")
    _same("wilson", wilson(k / n, n), (exact.low, exact.high), 1e-4)


def _mcnemar(random: Random) -> None:
    lost, gained = random.randint(0, 80), random.choice((0, random.randint(0, 80)))
    exact = binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1.0
    _same("mcnemar", [mcnemar(lost, gained)], [exact], 1e-9)


def _flips_interval(random: Random) -> None:
    n = random.randint(1, 500)
    lost = random.randint(0, n)
    gained = random.randint(0, n - lost)
    low, high = proportions_interval(Flips(lost, gained), n)
    if low is None or high is None or not -1 <= low <= (gained - lost) / n <= high <= 1:
        raise Differs(f"interval of {gained} gained, {lost} lost of {n}: {low}, {high}")


def _holm(random: Random) -> None:
    kinds = (random.random(), random.random() / 100, 0.0, 1.0)
    values = [random.choice(kinds) for _ in range(random.randint(1, 9))]
    ranked = sorted(values)
    by_definition = [
        min(1.0, max((len(values) - rank) * p for rank, p in enumerate(ranked) if p <= value))
        for value in values
    ]
    _same("holm", holm(values), by_definition, 1e-12)


def _error_of_a_mean(random: Random) -> None:
    coin = random.random() < 0.5
    items = [random.randint(0, 1) if coin else random.gauss(0, 3) for _ in range(random.randint(2, 400))]
    spread = float(np.std(items, ddof=1)) / math.sqrt(len(items))
    _same("stderr", [standard_error(mean, items) or 0.0], [spread], 1e-9)


def _error_of_a_perplexity(random: Random) -> None:
    """Compare with the delta method, which is close for many similar docs."""
    items = [random.gauss(-2, 0.3) for _ in range(random.randint(300, 600))]
    own = standard_error(perplexity, items)
    delta = math.exp(-float(np.mean(items))) * float(np.std(items, ddof=1)) / math.sqrt(len(items))
    _same("perplexity stderr", [own or 0.0], [delta], 0.15)


def _picks(random: Random) -> None:
    """Compare picks and probabilities with those of a loop over docs."""
    docs = [
        [(_random_choice(random), random.gauss(-9, 4)) for _ in range(random.randint(2, 6))]
        for _ in range(random.randint(1, 30))
    ]
    right = [random.randrange(len(doc)) for doc in docs]
    texts = [text for doc in docs for text, _ in doc]
    choices = Choices(
        doc_id=np.repeat(np.arange(len(docs)), [len(doc) for doc in docs]),
        right=np.concatenate([np.arange(len(d)) == label for d, label in zip(docs, right, strict=True)]),
        chars=np.asarray([len(text) for text in texts], dtype=np.int32),
        bytes=np.asarray([len(text.encode()) for text in texts], dtype=np.int32),
        tokens=np.ones(len(texts), dtype=np.int32),
        fixed=False,
        scored_bytes=np.asarray([len(text.encode()) for text in texts], dtype=np.int32),
    )
    found = doc_metrics(choices, np.asarray([value for doc in docs for _, value in doc]))
    for number, (doc, label) in enumerate(zip(docs, right, strict=True)):
        values = [value for _, value in doc]
        per_char = [value / len(text) for text, value in doc]
        per_byte = [value / len(text.encode()) for text, value in doc]
        total = sum(math.exp(value - max(values)) for value in values)
        picks = [scores.index(max(scores)) for scores in (values, per_char, per_byte)]
        own = [found.pick[number], found.pick_norm[number], found.pick_bytes[number]]
        _same(f"picks of doc {number}", own, picks, 0)
        prob = math.exp(values[label] - max(values)) / total
        _same(f"prob_right of doc {number}", [float(found.prob_right[number])], [prob], 1e-9)


def _random_choice(random: Random) -> str:
    return "x" * random.randint(1, 9) + random.choice(("", "é", "日"))


def _same(what: str, own: object, expected: object, tolerance: float) -> None:
    found, wanted = np.asarray(own, float), np.asarray(expected, float)
    if not np.allclose(found, wanted, rtol=tolerance, atol=tolerance / 10):
        raise Differs(f"{what}: {own}, by another way {expected}")


CHECKS = (_wilson, _mcnemar, _flips_interval, _holm, _error_of_a_mean, _error_of_a_perplexity, _picks)
