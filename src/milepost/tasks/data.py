"""The state a data set is in, told without loading it: a cached plan is used only while it is true."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

PACKAGED = ("json", "csv", "parquet", "text", "arrow", "pandas")
"""`dataset_path` values that are readers of local files, not repositories."""


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
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        sha: str | None = HfApi().dataset_info(repo_id, timeout=10).sha
        return sha
    except (OfflineModeIsEnabled, HfHubHTTPError, OSError):
        folder = "datasets--" + repo_id.replace("/", "--")
        ref = Path(constants.HF_HUB_CACHE) / folder / "refs" / "main"
        return ref.read_text().strip() if ref.is_file() else None


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
