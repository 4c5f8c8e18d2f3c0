"""Which checkpoints of a series were scored with other versions of torch or transformers than the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from milepost.report.notes import listed
from milepost.safe_text import printable


def version_notes(records: Iterable[Mapping[str, Any]], shown: Collection[str]) -> list[str]:
    """A line for each library and series whose checkpoints were not all scored with one version.

    Args:
        records: of checkpoints, as `store.reading.checkpoint_records` gives them.
        shown: the series that the reader sees.
    """
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for record in records:
        if record["series"] in shown:
            for library, version in record.get("versions", {}).items():
                of = found.setdefault((record["series"], library), {})
                of.setdefault(version, []).append(record["checkpoint"])
    return [
        f"{printable(series)}: scored with different versions of {library} ("
        + "; ".join(f"{printable(version)}: {listed(names)}" for version, names in of.items())
        + "), whose numbers may differ by more than rounding"
        for (series, library), of in found.items()
        if len(of) > 1
    ]
