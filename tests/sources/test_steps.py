"""`--steps BEGIN:END:STRIDE`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.errors import SourceError
from milepost.sources import Steps
from tests.sources.folders import refusal_of


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("20:40:10", [20, 30, 40]),
        ("15:40:10", [15, 25, 35]),
        ("::20", [0, 20, 40]),
        ("30:", [30, 35, 40]),
        (":15", [0, 10, 15]),
        ("25", [25]),
        (":", [0, 10, 15, 20, 25, 30, 35, 40]),
    ],
)
def test_both_ends_belong_to_the_selection_and_the_stride_counts_from_its_beginning(
    text: str, kept: Any
) -> None:
    steps = Steps.parse(text)
    assert [step for step in (0, 10, 15, 20, 25, 30, 35, 40) if step in steps] == kept


@pytest.mark.parametrize("text", ["", " ", "a", "1:2:3:4", "10:5", "::0", "-5:10", "1.5", "1 :2", "１２"])
def test_what_is_no_selection_is_refused_with_the_form_to_write(text: str) -> None:
    with pytest.raises(SourceError) as refusal:
        Steps.parse(text)
    assert "BEGIN:END:STRIDE" in refusal.value.hint


def test_a_checkpoint_without_a_step_is_in_no_selection() -> None:
    assert None not in Steps.parse(":")


@given(st.text(alphabet=st.characters(), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    refusal = refusal_of(lambda: Steps.parse(text))
    assert refusal is None or refusal.message.isprintable()


@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 30))
def test_what_it_prints_reads_back_the_same(begin: Any, length: Any, stride: Any) -> None:
    steps = Steps(begin, begin + length, stride)
    again = Steps.parse(str(steps))
    assert all((step in steps) == (step in again) for step in range(250))
