"""Note where checkpoints of a series were scored with different versions of torch or transformers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from milepost.report.notes import listed
from milepost.safe_text import printable
from milepost.store.records import CheckpointRecord


def version_notes(checkpoints: Iterable[CheckpointRecord], shown: Collection[str]) -> list[str]:
    """Return a line for each library and series whose checkpoints were not all scored with one version.

    Args:
        checkpoints: of the results folder.
        shown: the series that the reader sees.
    """
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for checkpoint in checkpoints:
        if checkpoint.series in shown:
            for library, version in checkpoint.versions.items():
                of = found.setdefault((checkpoint.series, library), {})
                of.setdefault(version, []).append(checkpoint.name)
    return [
        f"{printable(series)}: scored with different versions of {library} ("
        + "; ".join(f"{printable(version)}: {listed(names)}" for version, names in of.items())
        + "), whose numbers may differ by more than rounding"
        for (series, library), of in found.items()
        if len(of) > 1
    ]
