"""Look up the versions of the software that scores and metrics depend on."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util

from milepost.version import __version__

_LIBRARIES = ("lm_eval", "torch", "transformers", "tokenizers", "datasets")
COMPUTING = ("torch", "transformers")
"""The libraries that compute scores."""
_FOR_METRICS = ("lm_eval", "datasets")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Milepost and of the installed libraries, by name.

    Milepost's version comes from its source, so that a source tree need not be installed.
    """
    installed = {name: installed_version(name) for name in _LIBRARIES}
    return {"milepost": __version__, **{name: found for name, found in installed.items() if found}}


def installed_version(name: str) -> str | None:
    """Return the version of a library without importing it; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def can_compute_metrics() -> bool:
    """Return whether lm_eval and datasets, which make prompts and metrics, can be imported here."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in _FOR_METRICS)
    except (ImportError, ValueError):
        return False
