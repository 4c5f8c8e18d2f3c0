"""Every checkpoint format that is recognised has a reader."""

from __future__ import annotations

import pytest

from milepost.sources.formats import FORMATS, Format
from milepost.weights.formats import reader_of


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_a_format_has_a_reader_in_the_folder_of_its_name(format: Format) -> None:
    reader = reader_of(format.name)
    assert reader is not None
    assert reader.read.__module__ == f"milepost.weights.formats.{format.folder}.reader"
    assert format.check.__module__.startswith(f"milepost.sources.formats.{format.folder}.")


def test_an_unknown_format_has_no_reader() -> None:
    assert reader_of("unknown") is None
