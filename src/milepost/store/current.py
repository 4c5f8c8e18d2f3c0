"""Tell the current metrics of a task apart by the settings in which it was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from milepost.store.metrics_record import MetricsRecord
from milepost.store.records import CheckpointRecord
from milepost.types.metrics import Asked
from milepost.types.variants import variant_labels

Place = tuple[str, str, str | None]
"""Series, checkpoint and dtype."""


class Found(NamedTuple):
    """A task in a metrics record that is current."""

    checkpoint: CheckpointRecord
    plan_id: str
    task: str
    record: MetricsRecord


class Current(NamedTuple):
    """The metrics of a task, and how it was asked."""

    found: Found
    asked: Asked
    variant: str
    """As of `Measurement`."""


def variants(
    by_setting: Mapping[str, Mapping[Place, Found]], asked_with: Callable[[Found], Asked]
) -> list[Current]:
    """Return what was found of one task, with settings and variant: by settings, then in the given order.

    Args:
        by_setting: what was found by setting, the newest first.
        asked_with: the user's settings of a task that was found.
    """
    several_dtypes = any(
        len(places) > len({(series, name) for series, name, _ in places}) for places in by_setting.values()
    )
    found: dict[Asked, list[Found]] = {}
    editions: Counter[Asked] = Counter()
    for places in by_setting.values():
        asked = asked_with(next(iter(places.values())))
        edition = editions[asked]
        editions[asked] += 1
        for (_, _, dtype), one in places.items():
            own_dtype = dtype if several_dtypes else None
            found.setdefault(asked._replace(dtype=own_dtype, edition=edition), []).append(one)
    labels = variant_labels([found])
    return [Current(one, asked, labels[asked]) for asked in sorted(found, key=_order) for one in found[asked]]


def _order(asked: Asked) -> tuple[tuple[bool, object], ...]:
    """Sort key of the variants of a task: fewest examples first, all docs after a limit."""
    return tuple(
        (value is None, value or 0 if field in ("num_fewshot", "limit") else str(value))
        for field, value in asked._asdict().items()
    )
