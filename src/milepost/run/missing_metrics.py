"""Figures of a checkpoint that could not be computed, as its metrics record lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST = 3
"""Reasons that a message spells out."""


def describe_missing(record: Mapping[str, Any]) -> str | None:
    """Name the figures that could not be computed, with the reasons, in one line; None if all were.

    Args:
        record: of a checkpoint's figures, as `run.scoring.write_metrics` stores it.
    """
    parts = []
    unanswered = {task: n for task, n in record["missing"].items() if n}
    if unanswered:
        named = ", ".join(f"{task} ({n})" for task, n in unanswered.items())
        parts.append(
            f"the model gave NaN for some requests, or they cannot be scored; no figures for {named}"
        )
    parts += dict.fromkeys(
        f"no {_what(one)}: {one['reason']}" for one in record.get("reasons", ()) if one["kind"] != "expected"
    )
    more = f" (and {len(parts) - MOST} more figures)" if len(parts) > MOST else ""
    return "; ".join(parts[:MOST]) + more if parts else None


def may_be_retried(record: Mapping[str, Any]) -> bool:
    """Whether a figure is lacking because code raised an exception, so that another try may compute it."""
    return any(one["kind"] == "raised" for one in record.get("reasons", ()))


def _what(reason: Mapping[str, Any]) -> str:
    metric = reason["metric"] or "figures"
    filtered = f" with filter {reason['filter']}" if reason["filter"] not in (None, "none") else ""
    return f"{metric} of {reason['task']}{filtered}"
