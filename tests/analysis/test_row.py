"""Rows: a measurement and its interval, and the record that is exported."""

from __future__ import annotations

import math

import pytest

from milepost.analysis import record, rows
from tests.analysis.made import accuracy, measurement


def test_a_row_is_its_measurement_with_an_interval() -> None:
    (row,) = rows([accuracy(value=0.5, n=1000)])
    assert (row.task, row.value, row.n) == ("arc_easy", 0.5, 1000)
    assert (row.ci_low, row.ci_high) == pytest.approx((0.4690, 0.5310), abs=1e-4)


def test_a_number_that_is_no_number_becomes_none() -> None:
    nan, infinite = rows([measurement(value=math.nan, stderr=math.nan), measurement(value=math.inf)])
    assert (nan.value, nan.stderr, nan.ci_low, nan.ci_high) == (None, None, None, None)
    assert (infinite.value, infinite.ci_high) == (None, None)


def test_the_record_has_the_published_keys_in_order() -> None:
    (row,) = rows([measurement()])
    assert (
        " ".join(record(row))
        == "series checkpoint step task metric filter value stderr ci_low ci_high n chance"
        " num_fewshot limit dtype settings reason"
    )
