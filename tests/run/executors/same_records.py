"""Compares results folders: the same picks, and log-likelihoods that differ by rounding alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

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
            for ours_is, theirs_is in zip(values, theirs[column], strict=True):
                assert _is_close(ours_is, theirs_is), f"{name} {column}: {ours_is} and {theirs_is}"


def _is_close(ours: Any, theirs: Any) -> bool:
    """Compare values, or numbers within lists and JSON."""
    if isinstance(ours, float) and isinstance(theirs, float):
        if math.isnan(ours) or math.isnan(theirs):
            return math.isnan(ours) and math.isnan(theirs)
        return math.isclose(ours, theirs, rel_tol=0, abs_tol=LARGEST_DIFFERENCE)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_is_close, ours, theirs))
    if isinstance(ours, str) and isinstance(theirs, str) and ours != theirs:
        try:
            return _is_close(json.loads(ours), json.loads(theirs))
        except ValueError:
            return False
    return bool(ours == theirs)
