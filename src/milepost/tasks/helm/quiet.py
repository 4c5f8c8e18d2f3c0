"""HELM's prints, log lines and progress bars, kept from the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import helm.common.general

logger = logging.getLogger("milepost.tasks")


def _without_bar(items: Iterable[Any], *_: Any, **__: Any) -> Iterable[Any]:
    return items


def silence() -> None:
    """Take the progress bars out of HELM's loops, and show only its errors."""
    helm.common.general.tqdm = _without_bar
    logging.getLogger("helm").setLevel(logging.ERROR)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Also keep what HELM prints; for the main thread, as other threads print to the same place.

    transformers warns of prompts that are longer than the model's context, which HELM then cuts; Python warns
    of files that scenarios leave open.
    """
    silence()
    printed = io.StringIO()
    of_tokenizers = logging.getLogger("transformers.tokenization_utils_base")
    level = of_tokenizers.level
    of_tokenizers.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
    finally:
        of_tokenizers.setLevel(level)
        if printed.getvalue().strip():
            logger.debug("HELM printed: %s", printed.getvalue().strip())
