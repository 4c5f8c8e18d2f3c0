"""The state a data set is in, told without loading it: a cached plan is used only while it is true."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from milepost.environment_urls import check_hub_settings
from milepost.errors import TaskError
from milepost.tasks.lm_eval.local_data import PACKAGED, local_files

PAUSES_S = (0.5, 2.0)
_found_down: list[str] = []
"""Data sets that the Hub did not answer for (`cache_if_hub_is_down`): offline mode is then ours, not the
user's."""


def data_ref(path: str, kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """What names a data set, as `data_state` takes it; JSON, so that a saved plan can keep it."""
    ref = {"path": path, "data_files": (kwargs or {}).get("data_files")}
    if (kwargs or {}).get("data_dir") is not None:
        ref["data_dir"] = str((kwargs or {})["data_dir"])
    return ref


def data_state(ref: dict[str, Any]) -> str | None:
    """The commit of a Hub data set, or a hash of local files; None where neither can be had."""
    files = local_data_files(ref)
    if files is not None:
        return _files_state(files)
    return _hub_commit(ref["path"])


def local_data_files(ref: Mapping[str, Any]) -> list[str] | None:
    """The files of this machine that a data set is read from; None for one of the Hub or of an address."""
    kwargs = {"data_files": ref["data_files"], "data_dir": ref.get("data_dir")}
    if ref["path"] in PACKAGED:
        named = [file for _, file in local_files({"dataset_path": ref["path"], "dataset_kwargs": kwargs})]
        if not named and ref.get("data_dir") and ref["data_files"] is None:
            named = [ref["data_dir"]]
        return _expanded(named)
    return _expanded([ref["path"]]) if Path(ref["path"]).exists() else None


def _expanded(named: Iterable[str]) -> list[str]:
    """Patterns and folders replaced by the files that are there; a missing file stays."""
    files: list[str] = []
    for name in named:
        if os.path.isdir(name):
            files += [str(file) for file in Path(name).rglob("*") if file.is_file()]
        elif glob.has_magic(name) and not os.path.lexists(name):
            files += glob.glob(name, recursive=True)
        else:
            files.append(name)
    return files


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
    _found_down.append(asked)
    try:
        yield
    finally:
        _found_down.remove(asked)
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _answers(repo_id: str) -> bool:
    """Whether the Hub says anything at all when asked for a data set."""
    check_hub_settings(TaskError)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    for pause_s in (*PAUSES_S, None):
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


def cannot_get(task: str, error: BaseException) -> TaskError:
    """Data that neither this machine nor the Hub has, as `error` of datasets or huggingface_hub says."""
    where = endpoint()
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].removesuffix(
        " (OfflineModeIsEnabled)"
    )
    if isinstance(error, FileNotFoundError) and "hf://" not in said:
        return TaskError(
            f"task {task}: its data is not there: {said}", "look at dataset_path and dataset_kwargs"
        )
    if "BuilderConfig" in said:
        said = (
            said.partition(" doesn't have a ")[2].partition(" key")[0] if "doesn't have a" in said else said
        )
        return TaskError(
            f"task {task}: datasets cannot load its data in this way: {said[:300]}",
            "compare dataset_name and dataset_kwargs with what the data set has",
        )
    if is_offline() and not _found_down:
        hint = "offline mode is on (HF_HUB_OFFLINE); run once online, or set HF_HOME to a cache with the data"
    else:
        hint = f"check HF_ENDPOINT (now {where}), or set HF_HUB_OFFLINE=1 to use only the cache"
    return TaskError(f"task {task}: cannot get its data from {where}: {said}", hint)


def endpoint() -> str:
    """The Hub's address, without the credentials it may hold."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    return str(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))


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
        digest.update(f"{os.path.abspath(file)}\0".encode("utf-8", "surrogateescape"))
        content = hashlib.sha256()
        with open(file, "rb") as handle:
            while block := handle.read(1 << 20):
                content.update(block)
        digest.update(content.digest())
    return digest.hexdigest() if files else None
