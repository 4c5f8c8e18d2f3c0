"""Find the current state of a data set without loading it; a cached plan is valid for one state."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from milepost.errors import MissingDataError, TaskError
from milepost.network.environment_urls import check_hub_settings, hub_transport_error, shown_endpoint
from milepost.tasks.lm_eval.local_data import PACKAGED, local_files
from milepost.text.language import Phrase
from milepost.text.messages import first_line

PAUSES_S = (0.5, 2.0)
_found_down: list[str] = []
"""Data sets for which `cache_if_hub_is_down` has switched on offline mode; the user did not."""


def data_ref(path: str, kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a reference to a data set, for `data_state`; JSON, so that a saved plan can keep it."""
    ref = {"path": path, "data_files": (kwargs or {}).get("data_files")}
    if (kwargs or {}).get("data_dir") is not None:
        ref["data_dir"] = str((kwargs or {})["data_dir"])
    return ref


def data_state(ref: dict[str, Any]) -> str | None:
    """Return the commit of a Hub data set, or a hash of local files; None if unknown."""
    files = local_data_files(ref)
    if files is not None:
        return _files_state(files)
    return _hub_commit(ref["path"])


def local_data_files(ref: Mapping[str, Any]) -> list[str] | None:
    """Return the local files of a data set; None for a data set of the Hub or of a URL."""
    kwargs = {"data_files": ref["data_files"], "data_dir": ref.get("data_dir")}
    if ref["path"] in PACKAGED:
        named = [file for _, file in local_files({"dataset_path": ref["path"], "dataset_kwargs": kwargs})]
        if not named and ref.get("data_dir") and ref["data_files"] is None:
            named = [ref["data_dir"]]
        return _expanded(named)
    return _expanded([ref["path"]]) if Path(ref["path"]).exists() else None


def _expanded(named: Iterable[str]) -> list[str]:
    """Replace patterns and folders by the files that match; missing files stay."""
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
    """Return the current commit of `main`; if the Hub does not answer, that of the cache."""
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
    """Let datasets use only its cache while the block runs, if the Hub does not answer.

    datasets would do so too, but after half a minute of attempts for each data set.
    """
    import datasets.config
    from huggingface_hub import constants

    repo_id = next(iter(repo_ids), None)
    if repo_id is None or is_offline() or _answers(repo_id):
        yield
        return
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    _found_down.append(repo_id)
    try:
        yield
    finally:
        _found_down.remove(repo_id)
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _answers(repo_id: str) -> bool:
    """Return whether the Hub responds to a request for a data set."""
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
    """Return the exceptions of huggingface_hub and datasets when the Hub cannot be reached or refuses."""
    from huggingface_hub import errors

    return (hub_transport_error(), errors.HfHubHTTPError, OSError)


def cannot_get(task: str, error: BaseException) -> MissingDataError:
    """Return the error for missing data, from an error of datasets or huggingface_hub."""
    where = shown_endpoint()
    reason = first_line(error).removesuffix(" (OfflineModeIsEnabled)")
    if isinstance(error, FileNotFoundError) and "hf://" not in reason:
        return MissingDataError(
            task,
            Phrase("task {task}: its data does not exist: {reason}", task=task, reason=reason),
            "look at dataset_path and dataset_kwargs; --skip-missing-data leaves the task out",
        )
    if "BuilderConfig" in reason:
        if "doesn't have a" in reason:
            reason = reason.partition(" doesn't have a ")[2].partition(" key")[0]
        return MissingDataError(
            task,
            Phrase(
                "task {task}: datasets cannot load its data in this way: {value}",
                task=task,
                value=reason[:300],
            ),
            "compare dataset_name and dataset_kwargs with what the data set has",
        )
    if is_offline() and not _found_down:
        hint: str = Phrase(
            "offline mode is on (HF_HUB_OFFLINE); run once online, or set HF_HOME to a cache with the data;"
            " --skip-missing-data leaves the task out"
        )
    else:
        hint = Phrase(
            "check HF_ENDPOINT (now {where}), or set HF_HUB_OFFLINE=1 to use only the cache;"
            " --skip-missing-data leaves the task out",
            where=where,
        )
    return MissingDataError(
        task,
        Phrase(
            "task {task}: cannot get its data from {where}: {reason}", task=task, where=where, reason=reason
        ),
        hint,
    )


def is_offline() -> bool:
    """Return whether only the local cache may be used (`HF_HUB_OFFLINE`, `HF_DATASETS_OFFLINE`)."""
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
