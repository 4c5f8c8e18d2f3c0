"""Windows of a text: lm_eval's where they are lm_eval's, and no token predicted twice or passed over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from milepost.errors import TaskError
from milepost.plan.windows import Window, cut, fixed, rolling, sliding, window_size
from milepost.types.requests import Windows

n_tokens = st.integers(1, 90)
sizes = st.integers(2, 20)


def predicted(windows: list[Window]) -> list[int]:
    return [i for window in windows for i in range(window.first, window.end)]


@given(n_tokens, sizes)
def test_rolling_windows_are_those_of_lm_eval(n: int, size: int) -> None:
    theirs = [
        make_disjoint_window(pair)
        for pair in get_rolling_token_windows(
            list(range(n)), prefix_token=-1, max_seq_len=size, context_len=1
        )
    ]
    ours = [
        (list(range(window.start, window.first)), list(range(window.first, window.end)))
        for window in rolling(n, size, prefix=True)
    ]
    assert ours == [(context, continuation) for context, continuation in theirs]


@given(n_tokens, sizes)
def test_without_the_prefix_only_the_first_token_is_lost(n: int, size: int) -> None:
    with_it, without = rolling(n, size, prefix=True), rolling(n, size, prefix=False)
    assert predicted(with_it) == list(range(n))
    assert predicted(without) == list(range(1, n))
    assert with_it[1:] == without[-len(with_it) + 1 :] or len(with_it) == 1


@given(n_tokens, sizes)
def test_fixed_windows_predict_all_but_their_first_tokens_and_the_tail(n: int, size: int) -> None:
    counted = n // size * size
    assert predicted(fixed(n, size)) == [i for i in range(counted) if i % size]
    assert predicted(fixed(n, size, keep_tail=True)) == [i for i in range(n) if i % size]
    assert all(window.end - window.start == size for window in fixed(n, size))


@given(n_tokens, sizes, st.data())
def test_sliding_windows_predict_every_token_but_the_first_with_enough_before_it(
    n: int, size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, size - 1))
    windows = sliding(n, size, stride)
    assert predicted(windows) == list(range(1, n))
    assert all(window.end - window.start <= size for window in windows)
    assert all(window.first - window.start >= size - stride for window in windows[1:])


@given(n_tokens, sizes)
def test_a_stride_as_long_as_the_window_gives_fixed_windows_with_the_tail(n: int, size: int) -> None:
    assert sliding(n, size, size) == fixed(n, size, keep_tail=True)


@given(n_tokens, sizes, st.data())
def test_every_window_sees_a_token_before_what_it_predicts(n: int, size: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, size))
    kinds = [fixed(n, size, keep_tail=True), sliding(n, size, stride), rolling(n, size, prefix=False)]
    for windows in [*kinds, rolling(n, size, prefix=True)]:
        assert all(window.start < window.first < window.end for window in windows)


def test_windows_are_the_usual_2048_tokens_or_the_models_context() -> None:
    usual = Windows(kind="fixed")
    assert window_size("t", usual, 4096) == 2048
    assert window_size("t", usual, 1024) == 1024
    assert window_size("t", Windows(kind="rolling", size=512, whole_context=True), 1024) == 1024


def test_windows_slide_by_512_tokens_or_half_of_a_short_window() -> None:
    for size, stride in ((2048, 512), (1024, 512), (300, 150)):
        assert cut("t", Windows(kind="sliding", size=size), 5000, 2048)[1].first == size
        assert cut("t", Windows(kind="sliding", size=size), 5000, 2048)[1].start == stride


def test_windows_longer_than_the_context_are_refused_with_the_length_that_works() -> None:
    with pytest.raises(TaskError, match="2048 tokens, but the model's context is 1024") as refused:
        cut("ppl_fixed", Windows(kind="fixed", size=2048), 5000, 1024)
    assert "--seqlen 1024" in (refused.value.hint or "")


def test_a_text_shorter_than_a_window_is_refused_with_the_length_that_works() -> None:
    for kind in ("fixed", "sliding"):
        with pytest.raises(TaskError, match="300 tokens, fewer than one window of 512") as refused:
            cut("ppl", Windows(kind=kind, size=512, stride=8), 300, 1024)
        assert "--seqlen 300" in (refused.value.hint or "")
    with pytest.raises(TaskError, match="too few to predict any"):
        cut("ppl", Windows(kind="rolling"), 1, 1024)


def test_a_stride_that_would_pass_over_tokens_is_refused() -> None:
    with pytest.raises(TaskError, match="stride of 513"):
        cut("ppl_strided", Windows(kind="sliding", size=512, stride=513), 5000, 1024)


def test_at_most_so_many_windows_are_taken_from_the_start() -> None:
    assert len(cut("t", Windows(kind="fixed", size=10, most=3), 100, 64)) == 3
