"""Errors of HELM's code that reads or downloads a scenario's data, in one line with address and file.

HELM downloads with urllib, wget or gdown (helm/common/general.py `ensure_file_downloaded`, 0.5.16), and its
errors name neither the address nor the file; nltk and spaCy download for it too.
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
from milepost.tasks.helm.nltk_data import noted_resources
from milepost.text.language import Phrase
from milepost.text.messages import one_line

UNFINISHED = ".tmp"
"""What HELM adds to the name of a file while it downloads it."""
SPACY_MODEL = "en_core_web_sm"
"""What HELM has spaCy download for synonyms."""
SPACY_MODELS = "https://github.com/explosion/spacy-models/releases"


class _Download(NamedTuple):
    url: str
    file: str
    """Path at which HELM looks for the file."""


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
        with _noted(begun), noted_resources(lambda url, place: begun.append(_Download(url, place))):
            yield
    except OptionalDependencyNotInstalled as error:
        raise MissingDataError(
            entry,
            Phrase("{entry}: {reason}", entry=entry, reason=one_line(error)),
            "install it beside Milepost; --skip-missing-data leaves the entry out",
        ) from error
    # SystemExit: spaCy ends the program where it cannot download.
    except (OSError, hub_transport_error(), SystemExit) as error:
        url, file = begun[-1] if begun else (None, None)
        if isinstance(error, SystemExit) or "spacy-models" in str(error):
            url, file = SPACY_MODELS, SPACY_MODEL
        raise MissingDataError(
            entry,
            Phrase(
                "{entry}: its data cannot be had from {url}: {reason}",
                entry=entry,
                url=url,
                reason=one_line(error),
            )
            if url
            else Phrase("{entry}: its data cannot be had: {reason}", entry=entry, reason=one_line(error)),
            _hint(file, folder),
        ) from error


def _hint(file: str | None, folder: Path) -> str:
    if file == SPACY_MODEL:
        return Phrase(
            "python -m spacy download {model} installs it; --skip-missing-data leaves the entry out",
            model=file,
        )
    if file:
        return Phrase(
            "put it at {file}, where HELM looks first, or pass --helm-data DIR;"
            " --skip-missing-data leaves the entry out",
            file=file,
        )
    return Phrase(
        "put the files into {folder}, where HELM looks first, or pass --helm-data DIR;"
        " --skip-missing-data leaves the entry out",
        folder=folder,
    )


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
