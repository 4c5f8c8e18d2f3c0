"""Looks at a results folder as a whole: what must be equal between two ways to the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milepost.store.atomic_files import read_json
from milepost.store.tables import read_table


def contents(results: Path) -> dict[str, Any]:
    """Every record of scores and figures, by its path; how and when it was made is left out.

    NaN, which a text has for a log-likelihood, becomes None: it is not even equal to itself.
    """
    store = results / "store"
    tables = {
        str(path.relative_to(store)): {
            name: [None if value != value else value for value in values]
            for name, values in read_table(path).to_pydict().items()
        }
        for path in sorted(store.rglob("*.parquet"))
    }
    figures = {
        str(path.relative_to(store)): read_json(path)
        for kind in ("metrics", "plans")
        for path in sorted((store / kind).rglob("*.json"))
    }
    return tables | figures


def score_files(results: Path) -> dict[Path, tuple[int, int]]:
    """Inode and time of every score file: a file that was written again has others."""
    found = {}
    for path in sorted((results / "store" / "scores").rglob("*.parquet")):
        about = path.stat()
        found[path] = about.st_ino, about.st_mtime_ns
    return found


def leftovers(results: Path) -> list[Path]:
    """Temporary files, leases and notes of processes: nothing of it outlives a run that ended."""
    working = [path for kind in ("leases", "workers") for path in (results / "store" / kind).glob("*")]
    return [*results.rglob(".*.tmp"), *working]
