"""Standard errors equal lm_eval's for means, and the limit of its bootstrap for everything else."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from lm_eval.api.metrics import (
    _bootstrap_internal,
    bits_per_byte,
    mean,
    mean_stderr,
    median,
    perplexity,
    weighted_perplexity,
)

from milepost.tasks.lm_eval.stderr import standard_error

ITERATIONS = 1500


def by_lm_eval(aggregation: str, items: Any) -> Any:
    """lm_eval's `bootstrap_stderr`, in this process."""
    return np.std(_bootstrap_internal(aggregation, ITERATIONS)((0, items)), ddof=1)


def documents(n: int) -> list[tuple[float, float]]:
    """(log-likelihood, words) of n documents, longer ones less likely."""
    draw = random.Random(7)
    words = [draw.randint(20, 400) for _ in range(n)]
    return [(-w * draw.uniform(2.0, 4.5), float(w)) for w in words]


def test_the_error_of_a_mean_equals_that_of_lm_eval_exactly() -> None:
    items = [1, 0, 0, 1, 1, 1, 0, 1]
    assert standard_error(mean, items) == mean_stderr(items)


@pytest.mark.parametrize("aggregation", [weighted_perplexity, bits_per_byte])
def test_the_error_of_a_document_perplexity_is_that_of_a_bootstrap(aggregation: Any) -> None:
    items = documents(60)
    assert standard_error(aggregation, items) == pytest.approx(by_lm_eval(aggregation, items), rel=0.08)


def test_the_error_of_a_perplexity_is_that_of_a_bootstrap() -> None:
    items = [ll / words for ll, words in documents(80)]
    assert standard_error(perplexity, items) == pytest.approx(by_lm_eval(perplexity, items), rel=0.08)


def test_the_error_of_anything_else_is_near_that_of_a_bootstrap() -> None:
    draw = random.Random(3)
    items = [draw.gauss(0, 1) for _ in range(80)]
    assert standard_error(median, items) == pytest.approx(by_lm_eval(median, items), rel=0.2)


def test_one_doc_has_no_error() -> None:
    assert standard_error(mean, [1]) is None
    assert standard_error(bits_per_byte, [(-3.0, 4.0)]) is None


def test_an_error_that_is_not_a_number_is_none() -> None:
    assert standard_error(perplexity, [-1e6, -1e6 + 1, -5.0]) is None
