"""Errors of HELM's code that reads or downloads a scenario's data, in one line with address and file.

HELM downloads with urllib (helm/common/general.py `ensure_file_downloaded`, 0.5.16), and its errors name
neither the address nor the file.
"""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from helm.common.optional_dependencies import OptionalDependencyNotInstalled

from milepost.errors import MissingDataError, TaskError

UNFINISHED = ".tmp"
"""What HELM adds to the name of a file while it downloads it."""


class _Download(NamedTuple):
    url: str
    file: str
    """Where HELM would find it."""


@contextlib.contextmanager
def naming_downloads(entry: str, folder: Path) -> Iterator[None]:
    """Raise what fails in the block as an error that names the entry, the address and the file.

    Args:
        entry: whose data are read.
        folder: where HELM looks for them.

    Raises:
        MissingDataError: data cannot be read or downloaded.
        TaskError: a package of HELM's is not installed.
    """
    begun: list[_Download] = []
    try:
        with _noted(begun):
            yield
    except OptionalDependencyNotInstalled as error:
        raise TaskError(f"{entry}: {_one_line(error)}", "install it beside Milepost") from error
    except OSError as error:
        url = f" from {begun[-1].url}" if begun else ""
        place = f"put it at {begun[-1].file}" if begun else f"put the files into {folder}"
        raise MissingDataError(
            entry,
            f"{entry}: its data cannot be had{url}: {_one_line(error)}",
            f"{place}, where HELM looks first, or pass --helm-data DIR",
        ) from error


@contextlib.contextmanager
def _noted(begun: list[_Download]) -> Iterator[None]:
    original = urllib.request.urlretrieve

    def noted(url: str, filename: Any = None, *args: Any, **kwargs: Any) -> Any:
        begun.append(_Download(url, str(filename).removesuffix(UNFINISHED)))
        return original(url, filename, *args, **kwargs)

    urllib.request.urlretrieve = noted
    try:
        yield
    finally:
        urllib.request.urlretrieve = original


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
