"""nltk's data that HELM's code downloads; it goes on, or fails later, where that cannot be done."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helm.benchmark.run_spec import RunSpec

from milepost.errors import MissingDataError
from milepost.text.language import Phrase

nltk: Any = importlib.import_module("nltk")  # it has no types
ADDRESS = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages"
SENTENCES = "tokenizers/punkt_tab"
"""Its rules for the ends of sentences, without which it cuts no text into words."""
CUT_INTO_WORDS = ("bias_metrics", "melt_bias_metric", "ifeval_metrics")
"""Modules of HELM's metrics that use nltk's words."""
SCORES_OF_WORDS = ("bleu_1", "bleu_4")
"""HELM's scores of an answer beside a reference that do so too."""


def check_words(entry: str, spec: RunSpec) -> None:
    """Check that nltk can cut texts into words if a metric does so; HELM has tried to download the rules.

    Raises:
        MissingDataError: it cannot.
    """
    if not any(
        metric.class_name.rsplit(".", 2)[-2] in CUT_INTO_WORDS
        or any(name in SCORES_OF_WORDS for name in metric.args.get("names", ()))
        for metric in spec.metric_specs
    ):
        return
    try:
        nltk.data.find(SENTENCES)
    except LookupError as error:
        raise MissingDataError(
            entry,
            Phrase(
                "{entry}: what its metrics need cannot be had from {url}", entry=entry, url=_url(SENTENCES)
            ),
            Phrase(
                "unpack it in {folder}, or set NLTK_DATA to a folder with {name};"
                " --skip-missing-data leaves the entry out",
                folder=Path(nltk.downloader.Downloader().default_download_dir(), SENTENCES).parent,
                name=SENTENCES,
            ),
        ) from error


@contextlib.contextmanager
def noted_resources(note: Callable[[str, str], None]) -> Iterator[None]:
    """Raise where nltk cannot download what goes into a folder of HELM's.

    Args:
        note: called with the address of each, and the place at which HELM would have found it.

    Raises:
        OSError: it cannot be downloaded.
    """

    def download(of_nltk: Callable[..., bool], name: str, download_dir: str | None = None) -> bool:
        done = of_nltk(name, download_dir)
        if download_dir is not None and not done:
            note(_url(f"corpora/{name}"), str(Path(download_dir, "corpora", name)))
            raise OSError(f"nltk cannot download {name}")
        return done

    with silent_downloads(), _downloading_by(download):
        yield


@contextlib.contextmanager
def silent_downloads() -> Iterator[None]:
    """Keep what nltk says of downloads from the terminal."""

    def download(of_nltk: Callable[..., bool], *args: Any, **kwargs: Any) -> bool:
        return of_nltk(*args, **{**kwargs, "quiet": True, "print_error_to": io.StringIO()})

    with _downloading_by(download):
        yield


@contextlib.contextmanager
def _downloading_by(download: Callable[..., bool]) -> Iterator[None]:
    before = nltk.download
    nltk.download = functools.partial(download, before)
    try:
        yield
    finally:
        nltk.download = before


def _url(resource: str) -> str:
    return f"{ADDRESS}/{resource}.zip"
