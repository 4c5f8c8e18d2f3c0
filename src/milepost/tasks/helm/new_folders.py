"""The folders and locks that HELM makes before it downloads, which go again where nothing came."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

LOCK = ".lock"
"""The end of the names of HELM's locks (helm/common/general.py `ensure_file_downloaded`, 0.5.16)."""


@contextlib.contextmanager
def removing_if_empty(data: Path) -> Iterator[None]:
    """Remove HELM's output folder after an error or interrupt, if it was not there before and has no data."""
    new = [folder for folder in (data, *data.parents) if not folder.exists()]
    try:
        yield
    except BaseException:  # raised again below
        if new and not any(not name.endswith(LOCK) for _, _, names in os.walk(new[-1]) for name in names):
            _remove(new[-1])
        raise


def _remove(folder: Path) -> None:
    for place, _, names in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # another run has begun to use it
            for name in names:
                os.unlink(os.path.join(place, name))
            os.rmdir(place)
