"""Tables of a results folder: written whole, named, and taken over from elsewhere byte for byte."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milepost.errors import ResultsError
from milepost.store import confinement
from milepost.store.tables import copy_table, read_table, write_table

TABLE = pa.table({"doc_id": [0, 1], "doc": ["a", "b"]})


def test_a_record_kept_elsewhere_is_copied_to_its_place(tmp_path: Path) -> None:
    confinement.confine(tmp_path)
    kept, place = tmp_path / "kept.parquet", tmp_path / "store" / "docs" / "one.parquet"
    write_table(kept, TABLE, name="docs/one")
    assert copy_table(kept, place)
    assert place.read_bytes() == kept.read_bytes()
    assert read_table(place).equals(TABLE)


@pytest.mark.parametrize("case", ["missing", "another record", "no record", "damaged", "cut"])
def test_what_is_not_the_record_is_not_copied(tmp_path: Path, case: str) -> None:
    confinement.confine(tmp_path)
    kept, place = tmp_path / "kept.parquet", tmp_path / "store" / "docs" / "one.parquet"
    if case == "no record":
        pq.write_table(TABLE, kept)
    elif case != "missing":
        write_table(kept, TABLE, name="docs/two" if case == "another record" else "docs/one")
    if case == "damaged":
        data = bytearray(kept.read_bytes())
        data[8] ^= 1
        kept.write_bytes(data)
    if case == "cut":
        kept.write_bytes(kept.read_bytes()[:-10])
    assert not copy_table(kept, place)
    assert not place.exists()


def test_a_record_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    confinement.confine(tmp_path)
    place = tmp_path / "store" / "docs" / "one.parquet"
    write_table(place, TABLE, name="docs/two")
    with pytest.raises(ResultsError, match="the record docs/two"):
        read_table(place)
