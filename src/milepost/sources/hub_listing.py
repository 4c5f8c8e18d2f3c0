"""What a repository holds: its revisions and the files of each, from the Hub or, offline, from its cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from milepost.errors import SourceError
from milepost.sources.hub_requests import ask_hub, is_offline

_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of one commit."""

    size: int
    sha256: str | None
    """As published for files in large-file storage; None for small files kept in git."""


def list_revisions(repo_id: str) -> dict[str, str]:
    """Name and commit of every branch and tag (offline: of those in the cache)."""
    if is_offline():
        return _cached_revisions(repo_id)
    from huggingface_hub import HfApi

    refs = ask_hub(lambda: HfApi().list_repo_refs(repo_id), what=f"hf://{repo_id}")
    tags = {ref.name: ref.target_commit for ref in refs.tags}
    return tags | {ref.name: ref.target_commit for ref in refs.branches}


def commit_of(repo_id: str, revision: str) -> str | None:
    """The commit a branch, tag, pull request or commit id stands for now; None where there is none."""
    if is_offline():
        known = _cached_revisions(repo_id)
        in_cache = (cache_folder_of(repo_id) / "snapshots" / revision).is_dir()
        return known.get(revision) or (revision if in_cache else None)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        info = ask_hub(
            lambda: HfApi().model_info(repo_id, revision=revision), what=f"hf://{repo_id}@{revision}"
        )
    except RevisionNotFoundError:
        return None
    commit: str = info.sha
    return commit


@lru_cache(maxsize=4096)
def list_files(repo_id: str, commit: str) -> Mapping[str, HubFile]:
    """Path and size of every file of a commit. Remembered: what a commit holds never changes."""
    if is_offline():
        return _cached_files(repo_id, commit)
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    tree = ask_hub(
        lambda: list(HfApi().list_repo_tree(repo_id, revision=commit, recursive=True)),
        what=f"hf://{repo_id}@{commit[:12]}",
    )
    return {
        item.path: HubFile(item.size, item.lfs.sha256 if item.lfs else None)
        for item in tree
        if isinstance(item, RepoFile)
    }


def cache_folder_of(repo_id: str) -> Path:
    """Where huggingface_hub keeps a model repository (documented layout: blobs, refs, snapshots)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}"


def published_sha256(file: Path) -> str | None:
    """The hash under which a cached file was published: the name of the blob that its snapshot links to."""
    name = file.resolve().name
    is_hash = len(name) == _SHA256_DIGITS and all(char in "0123456789abcdef" for char in name)
    return name if is_hash and file.is_symlink() else None


def _cached_revisions(repo_id: str) -> dict[str, str]:
    folder = cache_folder_of(repo_id)
    if not folder.is_dir():
        raise SourceError(
            f"hf://{repo_id} is not in the local cache {folder.parent}",
            "unset HF_HUB_OFFLINE to fetch it from the Hub",
        )
    refs = folder / "refs"
    found = [path for path in refs.rglob("*") if path.is_file()]
    return {path.relative_to(refs).as_posix(): path.read_text("utf-8").strip() for path in sorted(found)}


def _cached_files(repo_id: str, commit: str) -> dict[str, HubFile]:
    snapshot = cache_folder_of(repo_id) / "snapshots" / commit
    files = {}
    for folder, _, names in os.walk(snapshot):
        for path in (Path(folder, name) for name in names):
            if path.is_file():
                files[path.relative_to(snapshot).as_posix()] = HubFile(
                    path.stat().st_size, published_sha256(path)
                )
    return files
