"""Describe the metrics of a checkpoint that could not be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from milepost.types.metrics import MissingMetric

MOST = 3
"""Reasons that a message spells out, at most."""


def describe_missing(missing: Mapping[str, int], reasons: Sequence[MissingMetric] = ()) -> str | None:
    """Name the metrics that could not be computed, and why, in one line; None if all were.

    Args:
        missing: tasks without metrics to their number of requests without an answer.
        reasons: why other metrics are missing.
    """
    parts = []
    unanswered = {task: n for task, n in missing.items() if n}
    if unanswered:
        named = ", ".join(f"{task} ({n})" for task, n in unanswered.items())
        parts.append(f"the model gave NaN for some requests, or they cannot be scored; no metrics of {named}")
    parts += dict.fromkeys(
        f"no {_name(reason)}: {reason.reason}" for reason in reasons if reason.kind != "expected"
    )
    more = f" (and {len(parts) - MOST} more metrics)" if len(parts) > MOST else ""
    return "; ".join(parts[:MOST]) + more if parts else None


def may_be_retried(reasons: Sequence[MissingMetric]) -> bool:
    """Return whether an exception kept a metric from being computed, so that another try may succeed."""
    return any(reason.kind == "raised" for reason in reasons)


def _name(reason: MissingMetric) -> str:
    metric = reason.metric or "metrics"
    filtered = f" with filter {reason.filter}" if reason.filter not in (None, "none") else ""
    return f"{metric} of {reason.task}{filtered}"
