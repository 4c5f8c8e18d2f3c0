"""Errors of HELM's code that reads or downloads a scenario's data, in one line with address and file.

HELM downloads with urllib, wget or gdown (helm/common/general.py `ensure_file_downloaded`, 0.5.16), and its
errors name neither the address nor the file.
"""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import helm.common.general
from helm.common.optional_dependencies import OptionalDependencyNotInstalled

from milepost.errors import MissingDataError
from milepost.network.environment_urls import hub_transport_error
from milepost.text.language import Phrase

UNFINISHED = ".tmp"
"""What HELM adds to the name of a file while it downloads it."""
LEAVES_OUT = Phrase("--skip-missing-data leaves the entry out")


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
        MissingDataError: data cannot be read or downloaded, or not without a package that is not installed.
    """
    begun: list[_Download] = []
    try:
        with _noted(begun):
            yield
    except OptionalDependencyNotInstalled as error:
        raise MissingDataError(
            entry,
            Phrase("{entry}: {error}", entry=entry, error=_one_line(error)),
            Phrase("install it beside Milepost; {advice}", advice=LEAVES_OUT),
        ) from error
    except (OSError, hub_transport_error()) as error:
        url = Phrase(" from {url}", url=begun[-1].url) if begun else ""
        place = (
            Phrase("put it at {path}", path=begun[-1].file)
            if begun
            else Phrase("put the files into {path}", path=folder)
        )
        raise MissingDataError(
            entry,
            Phrase(
                "{entry}: its data cannot be had{url}: {error}", entry=entry, url=url, error=_one_line(error)
            ),
            Phrase(
                "{place}, where HELM looks first, or pass --helm-data DIR; {advice}",
                place=place,
                advice=LEAVES_OUT,
            ),
        ) from error


@contextlib.contextmanager
def _noted(begun: list[_Download]) -> Iterator[None]:
    retrieve, shell = urllib.request.urlretrieve, helm.common.general.shell

    def noted(url: str, filename: Any = None, *args: Any, **kwargs: Any) -> Any:
        begun.append(_Download(url, str(filename).removesuffix(UNFINISHED)))
        return retrieve(url, filename, *args, **kwargs)

    def noted_command(command: list[str]) -> None:
        if len(command) == 4 and command[2] == "-O":  # wget and gdown
            begun.append(_Download(command[1], command[3].removesuffix(UNFINISHED)))
        try:
            shell(command)
        except Exception as error:  # HELM raises it bare where a command fails
            raise OSError(str(error)) from error

    urllib.request.urlretrieve = noted
    helm.common.general.shell = noted_command
    try:
        yield
    finally:
        urllib.request.urlretrieve = retrieve
        helm.common.general.shell = shell


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
