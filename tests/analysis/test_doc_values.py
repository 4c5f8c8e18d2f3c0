"""Docs' values in another unit or direction than their metric: every command reads them alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from milepost.analysis import rows
from milepost.analysis.comparison import compare_models
from milepost.analysis.curves import curves
from milepost.analysis.doc_values import (
    bits,
    complement,
    exponential,
    identity,
    loss,
    percent,
    perplexity,
    read_curve,
    read_values,
)
from milepost.analysis.signal import Points, rate
from milepost.analysis.training import train_curve
from milepost.types.histories import TaskDocs
from tests.analysis.answered import model, task
from tests.analysis.made import measurement

DRAW = np.random.default_rng(0)
WORDS = DRAW.integers(5, 40, 40).astype(float)
LEVELS = np.array([-18.0, -16.0, -14.0, -13.0, -12.5, -12.0])
"""Log-likelihoods of six checkpoints of a model that learns."""
NATS = LEVELS[:, None] + DRAW.normal(0, 2, 40) + DRAW.normal(0, 0.3, (6, 40))
SHARES = (DRAW.random((6, 60)) < np.linspace(0.1, 0.95, 6)[:, None]).astype(float)


class Kind(NamedTuple):
    """A metric whose docs get better through the series."""

    metric: str
    transform: Any
    higher_is_better: bool
    raw: list[Sequence[Any]]
    values: list[float]


def pairs(nats: np.ndarray) -> list[Any]:
    return [[float(n * w), float(w)] for n, w in zip(nats, WORDS, strict=True)]


def weighted(nats: np.ndarray) -> float:
    return float((nats * WORDS).sum() / WORDS.sum())


KINDS = {
    kind.metric: kind
    for kind in (
        Kind("acc", identity, True, list(SHARES), list(SHARES.mean(axis=1))),
        Kind("perplexity", perplexity, False, list(NATS), list(np.exp(-NATS.mean(axis=1)))),
        Kind("my_ppl", perplexity, False, list(NATS), list(np.exp(-NATS.mean(axis=1)))),
        Kind("exp_of_loss", exponential, False, list(-NATS), list(np.exp(-NATS.mean(axis=1)))),
        Kind("my_nll", loss, False, list(NATS), list(-NATS.mean(axis=1))),
        Kind("nats", identity, False, list(-NATS), list(-NATS.mean(axis=1))),
        Kind("loglikelihood", identity, True, list(NATS), list(NATS.mean(axis=1))),
        Kind(
            "word_perplexity",
            perplexity,
            False,
            [pairs(one) for one in NATS],
            [math.exp(-weighted(one)) for one in NATS],
        ),
        Kind(
            "bits_per_byte",
            bits,
            False,
            [pairs(one) for one in NATS],
            [-weighted(one) / math.log(2) for one in NATS],
        ),
        Kind("error_rate", complement, False, list(SHARES), list(1 - SHARES.mean(axis=1))),
        Kind("exact", percent, True, list(SHARES), list(100 * SHARES.mean(axis=1))),
    )
}


@pytest.mark.parametrize("name", KINDS)
def test_a_reading_gives_every_value_of_the_curve(name: str) -> None:
    kind = KINDS[name]
    read = read_curve(kind.raw, kind.values)
    assert read is not None
    assert {one.transform for one in read} == {kind.transform}
    assert [one.total() for one in read] == pytest.approx(kind.values)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_show_signal_and_compare_say_the_same_of_a_series_that_gets_better_or_worse(
    name: str, turned: bool
) -> None:
    kind = KINDS[name]
    raw, values = (kind.raw[::-1], kind.values[::-1]) if turned else (kind.raw, kind.values)
    measured = [
        measurement(
            step=100 * i,
            task="t",
            metric=name,
            value=value,
            stderr=None,
            n=len(raw[i]),
            chance=None,
            higher_is_better=kind.higher_is_better,
        )
        for i, value in enumerate(values)
    ]
    (curve,) = curves(rows(measured))
    shown = train_curve(curve, [TaskDocs(list(raw), 1.0)])
    assert shown.progress is not None
    assert shown.progress.improved is not turned
    assert shown.progress.regressed is turned
    assert shown.row(shown.progress.best) == curve.best
    assert shown.progress.plateau_since == (0 if turned else None)
    low, high = shown.gain_interval
    assert shown.gain is not None
    assert low is not None
    assert high is not None
    assert low < shown.gain < high
    assert low * high > 0

    rating = rate(
        Points(
            steps=tuple(range(6)),
            values=tuple(values),
            n=40,
            stderr=(0.0,) * 6,
            is_accuracy=False,
            higher_is_better=kind.higher_is_better,
            is_ratio=kind.transform in (perplexity, exponential),
        )
    )
    assert (rating.improved, rating.worsened) == (not turned, turned)

    first, last = (
        model(
            task(
                "t",
                metric=name,
                values=list(raw[i]),
                stored=values[i],
                higher_is_better=kind.higher_is_better,
                chance=None,
            )
        )
        for i in (0, -1)
    )
    (compared,) = compare_models(first, last).tasks
    assert compared.verdict == ("worse" if turned else "better")


def test_a_perplexity_that_falls_from_1e8_to_1e5_is_tested_by_its_logarithm() -> None:
    """On its own scale the first value's error is as large as the fall."""
    kind = KINDS["perplexity"]
    assert kind.values[0] > 3e6
    points = Points(
        steps=tuple(range(6)),
        values=(1e8, 2e7, 3e6, 7e5, 4e5, 2e5),
        n=40,
        is_accuracy=False,
        higher_is_better=False,
        is_ratio=True,
    )
    assert rate(points).verdict == "watch"
    assert rate(points).start == pytest.approx((1e8 * 2e7 * 3e6) ** (1 / 3))


def test_one_reading_must_give_all_values() -> None:
    nats = [-1.0, -2.0, -3.0]
    assert read_curve([nats, nats], [math.exp(2.0), math.exp(2.0)]) is not None
    assert read_curve([nats, nats], [math.exp(2.0), -2.0]) is None


def test_what_is_no_mean_over_docs_is_not_read() -> None:
    assert read_values([0.0, 1.0, 1.0], 0.123) is None
    assert read_values(["yes", "no"], 0.5) is None
    assert read_values([[1, [0.2, 0.8]]], 0.08) is None
    assert read_values([None, None], 0.5) is None


def test_docs_that_do_not_count_are_left_out() -> None:
    read = read_values([1.0, None, 0.0, None], 0.5)
    assert read is not None
    assert np.isnan(read.values).tolist() == [False, True, False, True]


def test_values_that_cancel_in_their_mean_are_read_though_they_are_stored_as_float32() -> None:
    """A margin of some 20 nats either way, with a mean of a thousandth."""
    exact = DRAW.normal(0, 20, 500)
    exact -= exact.mean() - 1e-3
    read = read_values(exact.astype(np.float32).astype(float).tolist(), float(exact.mean()))
    assert read is not None
    assert read.transform is identity
