"""The incomplete beta function, and the quantiles of Student's t that rest on it, are scipy's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betainc as reference
from scipy.special import stdtrit

from milepost.analysis.beta import betainc
from milepost.analysis.student_t import upper_t

sizes = st.floats(0.5, 20_000)


@given(sizes, sizes, st.floats(0, 1))
def test_it_is_scipys(a: float, b: float, x: float) -> None:
    assert betainc(a, b, x) == pytest.approx(float(reference(a, b, x)), rel=1e-8, abs=1e-13)


@given(sizes, sizes, st.floats(-4, 4))
def test_it_is_scipys_near_the_middle(a: float, b: float, sigmas: float) -> None:
    mean = a / (a + b)
    x = min(1.0, max(0.0, mean + sigmas * math.sqrt(mean * (1 - mean) / (a + b + 1))))
    assert betainc(a, b, x) == pytest.approx(float(reference(a, b, x)), rel=1e-8, abs=1e-13)


@given(st.integers(1, 2_000), st.sampled_from([0.25, 0.1, 0.025, 0.015, 0.001]))
def test_quantiles_of_students_t_are_scipys(df: int, above: float) -> None:
    assert upper_t(df, above) == pytest.approx(float(stdtrit(df, 1 - above)), rel=1e-8)
