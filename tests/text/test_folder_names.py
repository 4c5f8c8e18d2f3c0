"""Folders are named by what tells them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.text.folder_names import short_names


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["first/results", "second/results"], ["first/results", "second/results"]),
        (["/x/results", "/x/results"], ["results", "results"]),
        (["results", "old/results"], ["results", "old/results"]),
        (["results"], ["results"]),
        ([], []),
    ],
)
def test_the_last_parts_of_a_path_are_its_name(folders: list[str], names: list[str]) -> None:
    assert short_names([Path(folder) for folder in folders]) == names
