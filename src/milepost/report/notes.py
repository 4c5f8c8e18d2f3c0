"""Say in words what a table or a chart does not show, and what sets its checkpoints apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from milepost.report.formatting import metric_name
from milepost.report.table import grouped
from milepost.store.records import CheckpointRecord
from milepost.text.language import Phrase, joined
from milepost.text.safe_text import printable
from milepost.types.metrics import Measurement

NAMED = 3
"""Names of one kind that are written out; of the rest, the number is given."""
MOST_REASONS = 5
"""Lines about missing metrics."""


def reason_notes(rows: Sequence[Measurement]) -> list[str]:
    """Return a line for each reason why metrics among the rows are missing, with the tasks that lack them."""
    lacking = grouped(
        (row for row in rows if row.value is None and row.reason),
        lambda row: (row.reason or "", metric_name(row.metric, row.filter)),
    )
    notes: list[str] = [
        Phrase(
            "no {metric} of {tasks}: {reason}",
            metric=metric,
            tasks=listed(list(dict.fromkeys(row.label for row in without))),
            reason=printable(reason),
        )
        for (reason, metric), without in lacking.items()
    ]
    more = len(notes) - MOST_REASONS
    return [*notes[:MOST_REASONS], Phrase("{n} more metrics are missing", n=more)] if more > 0 else notes


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
                versions = found.setdefault((checkpoint.series, library), {})
                versions.setdefault(version, []).append(checkpoint.name)
    return [
        Phrase(
            "{series}: scored with different versions of {library} ({versions}), whose numbers may differ by "
            "more than rounding",
            series=printable(series),
            library=library,
            versions=joined(
                "; ",
                (joined(": ", (printable(version), listed(names))) for version, names in versions.items()),
            ),
        )
        for (series, library), versions in found.items()
        if len(versions) > 1
    ]


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    text = joined(", ", map(printable, names[:NAMED]))
    more = len(names) - NAMED
    return text if more <= 0 else Phrase("{names} and {n} more", names=text, n=more)
