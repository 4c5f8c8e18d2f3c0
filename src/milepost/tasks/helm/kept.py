"""Functions of HELM's metrics whose result follows from their arguments alone, called once for the same ones.

HELM scores a reference and a completion twice where it asks for one completion, cuts both into words anew for
each score, makes a stemmer for each instance, and names each statistic of each instance anew. References are
the same for every checkpoint. Whatever is computed is computed by HELM's own code.
Source: helm/benchmark/metrics/evaluate_reference_metrics.py, metric.py (0.5.16).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

from helm.benchmark.metrics import metric
from helm.benchmark.window_services.window_service_factory import WindowServiceFactory

MOST_KEPT = 8192
"""Results of each function; the words of so many texts take some tens of megabytes."""
OF_TEXTS = {
    "helm.benchmark.metrics.evaluate_reference_metrics": (
        "get_rouge_function",
        "get_chinese_rouge_function",
        "word_tokenize",
        "normalize_text",
        "quasi_exact_match",
        "quasi_leave_articles_exact_match",
        "quasi_prefix_exact_match",
        "f1_score",
        "rouge_score",
        "bleu_1",
        "bleu_4",
    ),
    "rouge_score.tokenize": ("tokenize",),
}
"""Functions of texts by their module. The words that some of them return are read and not changed."""


@contextlib.contextmanager
def keeping() -> Iterator[None]:
    """Keep what HELM's functions return in the block; for the main thread, after the metrics are made.

    What is kept of texts serves later blocks too. Names of statistics are kept for the block alone: they hold
    perturbations, and those of one run are equal only if they are the same in every respect.
    """
    with contextlib.ExitStack() as undo:
        for module_name, names in OF_TEXTS.items():
            for name in names:
                if hasattr(sys.modules.get(module_name), name):
                    _put(undo, sys.modules[module_name], name, _remembering(module_name, name))
        _put(undo, metric, "replace", functools.cache(dataclasses.replace))
        service_of = functools.cache(WindowServiceFactory.get_window_service)
        _put(undo, WindowServiceFactory, "get_window_service", staticmethod(service_of))
        yield


def _put(undo: contextlib.ExitStack, owner: Any, name: str, value: Any) -> None:
    undo.callback(setattr, owner, name, vars(owner)[name])
    setattr(owner, name, value)


@functools.cache
def _remembering(module_name: str, name: str) -> Callable[..., Any]:
    return functools.lru_cache(maxsize=MOST_KEPT)(getattr(sys.modules[module_name], name))
