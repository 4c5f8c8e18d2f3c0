"""Zeros per layer are kept with the results and read back as they were."""

from __future__ import annotations

from pathlib import Path

from milepost.store import ResultsFolder
from milepost.store.sparsity import keep_sparsity, read_sparsity
from milepost.types.sparsity import LayerSparsity, Sparsity

LAYER = LayerSparsity(name="layers.0.up_proj.weight", shape=(8, 4), zeros=16, pattern="2:4")
COUNTED = Sparsity(layers=(LAYER,), head=LAYER, n_parameters=64, n_zeros=16, bytes_on_disk=256)


def test_zeros_are_read_as_they_were_kept(tmp_path: Path) -> None:
    results = ResultsFolder.create(tmp_path / "results")
    assert read_sparsity(results, "0123456789abcdef") is None
    keep_sparsity(results, "0123456789abcdef", COUNTED)
    assert read_sparsity(results, "0123456789abcdef") == COUNTED


def test_a_damaged_record_is_as_good_as_none(tmp_path: Path) -> None:
    results = ResultsFolder.create(tmp_path / "results")
    keep_sparsity(results, "0123456789abcdef", COUNTED)
    path = results.sparsity_path("0123456789abcdef")
    path.write_text(path.read_text("utf-8").replace("2:4", "9:9"), "utf-8")
    assert read_sparsity(results, "0123456789abcdef") is None
