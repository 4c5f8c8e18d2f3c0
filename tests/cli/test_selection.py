"""Names of tasks and series on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.cli.selection import patterns


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("mmlu,arc_*", "boolq"), ("mmlu", "arc_*", "boolq")),
        ((" a , ,b",), ("a", "b")),
        (
            ("commonsense:dataset=hellaswag,method=x,boolq,mmlu:subject=anatomy",),
            ("commonsense:dataset=hellaswag,method=x", "boolq", "mmlu:subject=anatomy"),
        ),
        (("a=b,c=d",), ("a=b", "c=d")),
    ],
)
def test_names_are_split_at_commas_but_those_of_helm_keep_theirs(
    given: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    unused: Any = None
    assert patterns(unused, unused, given) == expected
