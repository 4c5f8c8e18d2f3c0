"""Rank correlations are scipy's."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given
from scipy import stats

from milepost.analysis.ranks import kendall, spearman

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30)


@given(PAIRS)
def test_spearman_and_kendall_are_scipys_with_ties_too(pairs: list[tuple[int, int]]) -> None:
    one, two = (list(column) for column in zip(*pairs, strict=True))
    if len(set(one)) == 1 or len(set(two)) == 1:
        assert spearman(one, two) is None
        assert kendall(one, two) is None
        return
    assert spearman(one, two) == pytest.approx(stats.spearmanr(one, two).statistic, abs=1e-12)
    assert kendall(one, two) == pytest.approx(stats.kendalltau(one, two).statistic, abs=1e-12)
