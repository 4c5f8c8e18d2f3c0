"""Every record carries a checksum of its own bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.errors import ResultsError
from milepost.store import ResultsFolder
from milepost.store.atomic_files import read_json, write_json
from milepost.store.checksum import MARK, OPEN, is_sealed, seal
from milepost.store.tables import read_made, read_table
from milepost.types.shard_answers import ShardAnswers


@given(before=st.binary(), after=st.binary(), at=st.integers(min_value=0), flip=st.integers(1, 255))
def test_any_changed_byte_is_noticed(before: bytes, after: bytes, at: int, flip: int) -> None:
    sealed = bytearray(seal(before + OPEN + after.replace(MARK, b"")))
    assert is_sealed(bytes(sealed))
    sealed[at % len(sealed)] ^= flip
    try:
        intact = is_sealed(bytes(sealed))
    except ResultsError:
        intact = False
    assert not intact


def test_json_reads_back_as_it_was_given(tmp_path: Path) -> None:
    value = {"name": "ü\x1b", "list": [1, 2.5, None], "nested": {"a": True}}
    write_json(tmp_path / "record.json", value)
    assert read_json(tmp_path / "record.json") == value


def test_json_changed_by_hand_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"value": 0.25})
    path.write_text(path.read_text().replace("0.25", "0.75"))
    assert json.loads(path.read_text())["value"] == 0.75
    with pytest.raises(ResultsError, match=r"record\.json") as caught:
        read_json(path)
    assert caught.value.hint is not None
    assert "--repair" in caught.value.hint


def test_scores_carry_how_they_were_made(tmp_path: Path) -> None:
    results = ResultsFolder.create(tmp_path / "results")
    path = results.score_path("model", "float32-v1", "shard")
    results.write_scores(
        path, ShardAnswers(np.array([-1.0, np.nan]), np.array([True, False])), {"engine": "packed"}
    )
    assert read_made(path) == {"engine": "packed"}
    loglikelihood, greedy = results.read_scores(path)
    np.testing.assert_array_equal(loglikelihood, [-1.0, np.nan])
    np.testing.assert_array_equal(greedy, [True, False])


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_scores_with_one_flipped_byte_are_refused(tmp_path: Path, part: float) -> None:
    results = ResultsFolder.create(tmp_path / "results")
    path = results.score_path("model", "float32-v1", "shard")
    results.write_scores(path, ShardAnswers(np.linspace(-9, 0, 100), np.zeros(100, dtype=np.bool_)))
    data = bytearray(path.read_bytes())
    data[int(len(data) * part)] ^= 1
    path.write_bytes(data)
    with pytest.raises(ResultsError, match="shard"):
        read_table(path)
