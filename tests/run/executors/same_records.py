"""Compares results folders: the same picks, and log-likelihoods that differ by rounding alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from milepost.store.tables import read_table

LARGEST_DIFFERENCE = 1e-5


def assert_same_records(found: Path, expected: Path) -> None:
    """Check that two folders have the same records; log-likelihoods agree to 1e-5, all else is equal."""
    stores = found / "store", expected / "store"
    names = [sorted(str(path.relative_to(store)) for path in store.rglob("*.parquet")) for store in stores]
    assert names[0] == names[1]
    assert any(name.startswith("scores") for name in names[0])
    for name in names[0]:
        ours, theirs = (read_table(store / name).to_pydict() for store in stores)
        assert ours.keys() == theirs.keys()
        for column, values in ours.items():
            if isinstance(values[0], float):
                np.testing.assert_allclose(
                    values, theirs[column], rtol=0, atol=LARGEST_DIFFERENCE, err_msg=f"{name} {column}"
                )
            else:
                assert values == theirs[column], f"{name} {column}"
