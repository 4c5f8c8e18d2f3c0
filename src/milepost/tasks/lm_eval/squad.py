"""What squadv2's figures are made of, doc by doc.

lm_eval gives each of its eight metrics the pair (prediction, reference) per doc and lets `evaluate`'s
squad_v2 metric make one number of all, loading it from the Hub each time, and gives no standard errors. Exact
match and F1 are means over docs, so a doc's own number is what the metric says of it alone.
Source: lm_eval/tasks/squadv2/task.py, `_squad_agg`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from milepost.errors import TaskError

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

AGGREGATION = "_squad_agg"
MEANS = ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")
"""The others are best values over all thresholds of the no-answer probability: no means."""

Pair = tuple[dict[str, Any], dict[str, Any]]


def is_squad(aggregation: Callable[..., Any]) -> bool:
    """Whether a task aggregates by squad_v2."""
    function = aggregation.func if isinstance(aggregation, functools.partial) else aggregation
    return getattr(function, "__name__", "") == AGGREGATION


def asks_squad(tasks: Iterable[ConfigurableTask]) -> bool:
    """Whether one of the tasks aggregates by squad_v2."""
    return any(is_squad(one) for task in tasks for one in task.aggregation().values())


@contextmanager
def metric_loaded_once(tasks: Iterable[ConfigurableTask]) -> Iterator[None]:
    """While it lasts `evaluate.load` remembers what it has loaded, if one of the tasks asks for it.

    Importing `evaluate` takes more than a second, and no other task's aggregation needs it.
    """
    if not asks_squad(tasks):
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
    """`evaluate`'s squad_v2.

    Raises:
        TaskError: it is neither in the cache nor can it be fetched.
    """
    import evaluate

    bars = evaluate.utils.logging
    were_on = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()  # of 4 kB
    try:
        return evaluate.load("squad_v2")
    except (OSError, ImportError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TaskError(
            f"the metric evaluate-metric/squad_v2 cannot be had: {said}",
            "check HF_ENDPOINT; squadv2 takes its metric from there, as in lm_eval",
        ) from error
    finally:
        if were_on:
            bars.enable_progress_bar()


def values_of_docs(pairs: Sequence[Pair]) -> dict[str, list[float | None]]:
    """By metric, each doc's own number (0 to 100); None for docs that the metric leaves out."""
    metric = load_metric()
    found: dict[str, list[float | None]] = {name: [] for name in MEANS}
    for prediction, reference in pairs:
        own = metric._compute(predictions=[prediction], references=[reference])
        for name, values in found.items():
            values.append(float(own[name]) if name in own else None)
    return found
