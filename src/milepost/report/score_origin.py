"""Where each checkpoint's figures come from, for people and as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from milepost.safe_text import printable
from milepost.store.provenance import Provenance


def origin_lines(origins: Sequence[Provenance]) -> Iterator[str]:
    """A paragraph per checkpoint."""
    for one in origins:
        yield printable(f"{one.series} {one.checkpoint}")
        for name, value in _named(one):
            if value:
                yield printable(f"  {name:10} {value}")


def as_json(origins: Sequence[Provenance]) -> str:
    """An array of objects, one per checkpoint; times in seconds since 1970."""
    return json.dumps([asdict(one) for one in origins], ensure_ascii=False, indent=1)


def _named(one: Provenance) -> Iterator[tuple[str, str]]:
    yield "source", one.source
    yield "scored at", ", ".join(place for place in one.scored_from if place != one.source)
    yield "model_id", one.model_id
    yield "numerics", one.numerics
    yield "plan_id", f"{one.plan_id} ({one.n_shards} shards)"
    yield "engine", ", ".join(one.engines)
    yield "device", ", ".join(one.devices)
    yield "versions", " / ".join(one.versions)
    moments = dict.fromkeys(_moment(seconds) for seconds in (one.first_scored, one.last_scored) if seconds)
    yield "scored", " to ".join(moments)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
