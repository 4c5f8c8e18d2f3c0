"""The state a data set is in, told without loading it: a cached plan is used only while it is true."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

PACKAGED = ("json", "csv", "parquet", "text", "arrow", "pandas")
"""`dataset_path` values that are readers of local files, not repositories."""

_PAUSES_S = (0.5, 2.0)


def data_state(ref: dict[str, Any]) -> str | None:
    """The commit of a Hub data set, or a hash of local files; None where neither can be had."""
    path = Path(ref["path"])
    if ref["path"] in PACKAGED:
        return _files_state(_flatten(ref["data_files"]))
    if path.exists():
        return _files_state(
            [str(file) for file in path.rglob("*") if file.is_file()] if path.is_dir() else [str(path)]
        )
    return _hub_commit(ref["path"])


def _hub_commit(repo_id: str) -> str | None:
    """The branch's commit now; offline or with the Hub down the one in the cache, which would be loaded."""
    from huggingface_hub import HfApi, constants

    try:
        sha: str | None = HfApi().dataset_info(repo_id, timeout=10).sha
        return sha
    except hub_errors():
        folder = "datasets--" + repo_id.replace("/", "--")
        ref = Path(constants.HF_HUB_CACHE) / folder / "refs" / "main"
        return ref.read_text().strip() if ref.is_file() else None


@contextmanager
def cache_if_hub_is_down(repo_ids: Iterable[str]) -> Iterator[None]:
    """Within it datasets come from the cache alone if the Hub does not answer.

    datasets would come to that too, after half a minute of attempts for each data set.
    """
    import datasets.config
    from huggingface_hub import constants

    asked = next(iter(repo_ids), None)
    if asked is None or is_offline() or _answers(asked):
        yield
        return
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _answers(repo_id: str) -> bool:
    """Whether the Hub says anything at all when asked for a data set."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    for pause_s in (*_PAUSES_S, None):
        try:
            HfApi().dataset_info(repo_id, timeout=10)
            return True
        except HfHubHTTPError:
            return True
        except hub_errors():
            if pause_s is not None:
                time.sleep(pause_s)
    return False


def hub_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub and datasets let through when the Hub cannot be reached or refuses."""
    from huggingface_hub import errors

    # The HTTP library behind them differs between versions; its base class is among these ancestors.
    base = next(kind for kind in errors.HfHubHTTPError.__mro__[1:] if kind.__name__ == "HTTPError")
    return (base, errors.HfHubHTTPError, OSError)


def endpoint() -> str:
    """The Hub's address, without the credentials it may hold."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_offline() -> bool:
    """Whether only the local cache may be used (`HF_HUB_OFFLINE`, `HF_DATASETS_OFFLINE`)."""
    from datasets import config
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE or config.HF_HUB_OFFLINE)


def _files_state(files: list[str]) -> str | None:
    digest = hashlib.sha256()
    for file in sorted(files):
        if not os.path.isfile(file):
            return None
        digest.update(f"{os.path.abspath(file)}\0".encode())
        with open(file, "rb") as handle:
            digest.update(hashlib.sha256(handle.read()).digest())
    return digest.hexdigest() if files else None


def _flatten(files: Any) -> list[str]:
    if isinstance(files, dict):
        return [name for value in files.values() for name in _flatten(value)]
    if isinstance(files, list | tuple):
        return [name for value in files for name in _flatten(value)]
    return [str(files)] if files else []
