"""The HELM that is installed, and what is said where it is missing or of another version."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import logging

from milepost.errors import MilepostError

TESTED_VERSION = "0.5.16"
"""The crfm-helm whose statistics the tests compare with."""

logger = logging.getLogger("milepost.tasks")


def is_installed() -> bool:
    """Return whether HELM can be imported; HELM itself is not imported for that."""
    return importlib.util.find_spec("helm") is not None and bool(_version())


def _version() -> str | None:
    try:
        return importlib.metadata.version("crfm-helm")
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def helm_version() -> str:
    """Return the version of the installed HELM; warn once where it is not the tested one.

    Raises:
        MilepostError: HELM is not installed.
    """
    version = _version()
    if version is None or importlib.util.find_spec("helm") is None:
        raise MilepostError("HELM is not installed here", "pip install 'milepost[helm]'")
    if version != TESTED_VERSION:
        logger.warning(
            "crfm-helm %s is installed; Milepost is tested with %s, and other versions may ask or count"
            " differently",
            version,
            TESTED_VERSION,
        )
    return version
