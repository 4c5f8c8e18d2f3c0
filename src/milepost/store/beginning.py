"""Begin a results folder: a run that is refused before it has scored anything leaves none behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from milepost.buckets import as_path, in_bucket
from milepost.errors import MilepostError
from milepost.store import listing
from milepost.store import safe_paths as inside
from milepost.store.confinement import spelled
from milepost.store.folder import ResultsFolder

PREPARED = frozenset({"series", "runs", "plans", "docs", "choices", "checkpoints", "quick"})
"""Kinds of records that a run writes before it scores; every other is a result, or another process's."""
LOG = "evaluation.log"


@contextlib.contextmanager
def begun_folder(path: Path) -> Iterator[ResultsFolder]:
    """Make a results folder, or take an existing one; if the block is refused, a new one is removed again.

    It stays where it had records before, and where anything was scored or another process is at work.

    Raises:
        ResultsError: as `ResultsFolder.create`.
    """
    path = spelled(as_path(path))
    above = [] if in_bucket(path) else [folder for folder in (path, *path.parents) if not folder.exists()]
    results = ResultsFolder.create(path)
    is_new = not listing.files_below(results.store)
    try:
        yield results
    except MilepostError:
        if is_new and not _has_results(results):
            _remove(results, above)
        raise


def _has_results(results: ResultsFolder) -> bool:
    """Return whether there are records that no run writes before it scores."""
    records = [file.relative_to(results.store).parts for file in listing.files_below(results.store)]
    return any(len(parts) < 2 or parts[0] not in PREPARED for parts in records)


def _remove(results: ResultsFolder, above: list[Path]) -> None:
    """Remove the records and what tells of them; other files stay, such as the logs of a cluster's jobs.

    Args:
        above: folders that were made for it, the innermost first.
    """
    with contextlib.suppress(OSError):  # what cannot be removed stays; the refusal is what has to be told
        for log in listing.files_below(results.path, LOG):
            inside.remove(log)
            for folder in log.parents[:2]:
                inside.remove_empty_folder(folder)
        if listing.folders(results.store):
            inside.remove_folder(results.store)
        if listing.files_below(results.path) == [results.marker_path]:
            inside.remove(results.marker_path)
        for folder in above:
            inside.remove_empty_folder(folder)
