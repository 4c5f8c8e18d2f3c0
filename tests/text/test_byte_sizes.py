"""Sizes for people have three digits and a decimal unit."""

from __future__ import annotations

import pytest

from milepost.text.byte_sizes import format_bytes


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (12_345_678_901, "12.3 GB"), (5e15, "5e+03 TB")],
)
def test_the_unit_changes_where_three_digits_end(n_bytes: float, text: str) -> None:
    assert format_bytes(n_bytes) == text
