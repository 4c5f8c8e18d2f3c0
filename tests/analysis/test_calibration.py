"""The calibration error against HELM's definition written out doc by doc."""

from __future__ import annotations

import bisect
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from milepost.analysis.calibration import calibration_error


def helms_ece_10_bin(confidence: list[float], right: list[bool]) -> float:
    """`calibration.get_ece_em(max_probs, correct, num_bins=10)` as its source says it, without numpy."""
    ordered = sorted(confidence)
    n_bins = min(10, len(ordered))
    longer = len(ordered) % n_bins
    parts, start = [], 0
    for part in range(n_bins):
        size = len(ordered) // n_bins + (part < longer)
        parts.append(ordered[start : start + size])
        start += size
    ends = sorted({(a[-1] + b[0]) / 2.0 for a, b in pairwise(parts)} | {1.0})
    bins: list[list[tuple[float, bool]]] = [[] for _ in ends]
    for pair in zip(confidence, right, strict=True):
        bins[bisect.bisect_left(ends, pair[0])].append(pair)
    error = 0.0
    for own in filter(None, bins):
        sure = sum(c for c, _ in own) / len(own)
        hits = sum(r for _, r in own) / len(own)
        error += len(own) / len(confidence) * abs(sure - hits)
    return error


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11, 103, 1000])
def test_it_is_helms_to_1e_12(n: int) -> None:
    draw = np.random.default_rng(n)
    confidence = draw.uniform(0.25, 1.0, n)
    right = draw.random(n) < confidence**2
    expected = helms_ece_10_bin(confidence.tolist(), right.tolist())
    assert calibration_error(confidence, right).error == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.sampled_from([0.25, 0.5, 0.75, 1.0]), st.booleans()), min_size=1, max_size=60))
def test_it_is_helms_where_many_docs_are_equally_sure(docs: list[tuple[float, bool]]) -> None:
    confidence, right = (list(column) for column in zip(*docs, strict=True))
    expected = helms_ece_10_bin(confidence, right)
    assert calibration_error(np.array(confidence), np.array(right)).error == pytest.approx(
        expected, abs=1e-12
    )


def test_a_model_that_is_right_as_often_as_it_is_sure_has_next_to_none() -> None:
    draw = np.random.default_rng(0)
    confidence = draw.uniform(0.3, 1.0, 50_000)
    error, _ = calibration_error(confidence, draw.random(50_000) < confidence)
    assert error < 0.01


def test_its_standard_error_is_that_of_repeated_draws() -> None:
    draw = np.random.default_rng(1)
    found = []
    for _ in range(300):
        confidence = draw.uniform(0.5, 1.0, 400)
        found.append(calibration_error(confidence, draw.random(400) < confidence - 0.3))
    spread = float(np.std([one.error for one in found], ddof=1))
    assert np.mean([one.stderr for one in found]) == pytest.approx(spread, rel=0.15)
