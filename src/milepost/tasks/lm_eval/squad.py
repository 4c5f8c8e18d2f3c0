"""Compute squadv2's metrics for single docs.

lm_eval gives each of its eight metrics the pair (prediction, reference) per doc and lets `evaluate`'s
squad_v2 metric, which it loads from the Hub each time, make one number of all pairs, without standard errors.
Exact match and F1 are means over docs, so the metric of a single pair is the doc's own value.
Source: lm_eval/tasks/squadv2/task.py, `_squad_agg`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from milepost.errors import TaskError
from milepost.text.language import Phrase
from milepost.text.messages import first_line

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

AGGREGATION = "_squad_agg"
MEANS = ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")
"""The other metrics are maxima over thresholds of the no-answer probability and not means."""

Pair = tuple[dict[str, Any], dict[str, Any]]


def is_squad(aggregation: Callable[..., Any]) -> bool:
    """Return whether this is the aggregation of squadv2."""
    function = aggregation.func if isinstance(aggregation, functools.partial) else aggregation
    return getattr(function, "__name__", "") == AGGREGATION


def uses_squad(tasks: Iterable[ConfigurableTask]) -> bool:
    """Return whether a task aggregates by squad_v2."""
    return any(is_squad(aggregation) for task in tasks for aggregation in task.aggregation().values())


@contextmanager
def metric_loaded_once(tasks: Iterable[ConfigurableTask]) -> Iterator[None]:
    """Let `evaluate.load` cache the metric while the block runs, if a task uses it.

    Importing `evaluate` takes more than a second, and no other task's aggregation needs it.
    """
    if not uses_squad(tasks):
        yield
        return
    import evaluate

    original = evaluate.load
    evaluate.load = functools.cache(original)
    try:
        yield
    finally:
        evaluate.load = original


def load_metric() -> Any:
    """Return `evaluate`'s squad_v2.

    Raises:
        TaskError: the metric is not in the cache and cannot be downloaded.
    """
    import evaluate

    bars = evaluate.utils.logging
    were_on = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()  # the download has 4 kB
    try:
        return evaluate.load("squad_v2")
    except (OSError, ImportError) as error:
        reason = first_line(error)
        raise TaskError(
            Phrase("failed to load the metric evaluate-metric/squad_v2: {reason}", reason=reason),
            "check HF_ENDPOINT; squadv2 takes its metric from there, as in lm_eval",
        ) from error
    finally:
        if were_on:
            bars.enable_progress_bar()


def values_of_docs(pairs: Sequence[Pair]) -> dict[str, list[float | None]]:
    """Return each doc's own value (0 to 100) by metric; None for docs that the metric leaves out."""
    metric = load_metric()
    found: dict[str, list[float | None]] = {name: [] for name in MEANS}
    for prediction, reference in pairs:
        own = metric._compute(predictions=[prediction], references=[reference])
        for name, values in found.items():
            values.append(float(own[name]) if name in own else None)
    return found
