"""Versions of the software that a score or a metric depends on."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util

from milepost.version import __version__

_LIBRARIES = ("lm_eval", "torch", "transformers", "tokenizers", "datasets")
COMPUTING = ("torch", "transformers")
"""Of them, those that compute the scores."""
_FOR_METRICS = ("lm_eval", "datasets")


@functools.cache
def versions() -> dict[str, str]:
    """Name to version of Milepost and of the libraries that are installed.

    Milepost's own is told by itself, so that it also works from a source tree that is not installed.
    """
    installed = {name: installed_version(name) for name in _LIBRARIES}
    return {"milepost": __version__, **{name: found for name, found in installed.items() if found}}


def installed_version(name: str) -> str | None:
    """The version of an installed library, without importing it; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def can_compute_metrics() -> bool:
    """Whether lm_eval and datasets, which prompts and metrics come from, can be imported here."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in _FOR_METRICS)
    except (ImportError, ValueError):
        return False
