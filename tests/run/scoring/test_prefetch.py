"""Reading ahead: one item, never two; what fails there is told here."""

from __future__ import annotations

import threading

import pytest

from milepost.run.scoring.prefetch import read_ahead


def test_the_next_item_is_read_while_this_one_is_in_use_and_no_further() -> None:
    started: list[int] = []
    second = threading.Event()

    def read(item: int) -> int:
        started.append(item)
        if item == 1:
            second.set()
        return item * 10

    results = read_ahead([0, 1, 2, 3], read)
    item, value = next(results)
    assert (item, value.result()) == (0, 0)
    assert second.wait(10)
    assert started == [0, 1]
    next(results)
    next(results)
    assert [value.result() for _, value in results] == [30]
    assert started == [0, 1, 2, 3]


def test_items_come_in_order_with_what_was_read() -> None:
    assert [(item, value.result()) for item, value in read_ahead("abc", str.upper)] == [
        ("a", "A"),
        ("b", "B"),
        ("c", "C"),
    ]
    assert list(read_ahead([], str.upper)) == []


def test_what_fails_is_raised_where_it_is_used_and_the_others_go_on() -> None:
    def read(item: int) -> float:
        return 1 / item

    results = []
    for item, value in read_ahead([2, 0, 4], read):
        if item:
            results.append(value.result())
        else:
            with pytest.raises(ZeroDivisionError):
                value.result()
    assert results == [0.5, 0.25]
