"""Switch off the progress bars of Hugging Face's libraries, which all have the same functions for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without_progress_bars(library: ModuleType) -> Iterator[None]:
    """Keep a library's progress bars off in the block.

    Args:
        library: `huggingface_hub.utils` or `datasets.utils`.
    """
    if library.are_progress_bars_disabled():
        yield
        return
    library.disable_progress_bars()
    try:
        yield
    finally:
        library.enable_progress_bars()
