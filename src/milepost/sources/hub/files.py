"""Revisions of a repository and their files, from the Hub or, offline, from its cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from milepost.errors import SourceError
from milepost.sources.hub.bounds import HINT, HubMisbehaves, bounded
from milepost.sources.hub.listing_cache import HubFile, recall_listing, remember_listing
from milepost.sources.hub.name_checks import check_commit, check_path, check_revision, is_commit
from milepost.sources.hub.requests import ask_hub, is_offline
from milepost.text.language import Phrase
from milepost.types.checkpoints import HubLocation

_MOST_FILES = 200_000
_SHA256_DIGITS = 64
_SHA1_DIGITS = 40


def list_revisions(repo_id: str) -> dict[str, str]:
    """Return branch or tag name to commit (offline: of those in the cache)."""
    if is_offline():
        return _cached_revisions(repo_id)
    from huggingface_hub import HfApi

    where = f"hf://{repo_id}"
    with bounded(where):
        refs = ask_hub(lambda: HfApi().list_repo_refs(repo_id), what=where)
    return {
        check_revision(ref.name, where): check_commit(ref.target_commit, where)
        for ref in (*refs.tags, *refs.branches)
    }


def commit_of(repo_id: str, revision: str) -> str | None:
    """Return the current commit of a branch, tag, pull request or commit id; None if it does not exist.

    A full commit id whose files were listed before needs no request.
    """
    if is_offline():
        known = _cached_revisions(repo_id)
        in_cache = is_commit(revision) and (cache_folder_of(repo_id) / "snapshots" / revision).is_dir()
        return known.get(revision) or (revision if in_cache else None)
    if is_commit(revision) and recall_listing(repo_id, revision) is not None:
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    where = f"hf://{repo_id}@{revision}"
    try:
        with bounded(where):
            info = ask_hub(lambda: HfApi().model_info(repo_id, revision=revision), what=where)
    except RevisionNotFoundError:
        return None
    return check_commit(info.sha, where)


@lru_cache(maxsize=4096)
def list_files(repo_id: str, commit: str) -> Mapping[str, HubFile]:
    """Return path and description of every file of a commit, which never changes, so that it is cached.

    Raises:
        SourceError: the Hub cannot be reached, or lists a path outside the repository.
    """
    if is_offline():
        return _cached_files(repo_id, commit)
    files = recall_listing(repo_id, commit)
    if files is None:
        files = _listed(repo_id, commit)
        remember_listing(repo_id, commit, files)
    return files


def files_in(location: HubLocation) -> dict[str, HubFile]:
    """Return the files below a location's folder, by path relative to it."""
    prefix = f"{location.subfolder}/" if location.subfolder else ""
    files = list_files(location.repo_id, location.commit)
    return {path[len(prefix) :]: file for path, file in files.items() if path.startswith(prefix)}


def _listed(repo_id: str, commit: str) -> dict[str, HubFile]:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    where = f"hf://{repo_id}@{commit[:12]}"

    def listed() -> dict[str, HubFile]:
        files: dict[str, HubFile] = {}
        for item in HfApi().list_repo_tree(repo_id, revision=commit, recursive=True):
            if not isinstance(item, RepoFile):
                continue
            if item.path in files or len(files) >= _MOST_FILES:
                raise HubMisbehaves(f"{where}: its listing does not end", HINT)
            sha256 = item.lfs.sha256 if item.lfs else None
            files[check_path(item.path, where)] = HubFile(
                item.size, sha256, None if item.lfs else item.blob_id
            )
        return files

    with bounded(where):
        return ask_hub(listed, what=where)


def cache_folder_of(repo_id: str) -> Path:
    """Return huggingface_hub's folder of a model repository (documented layout: blobs, refs, snapshots)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}"


def as_published(file: Path) -> HubFile:
    """Return size and published hash of a cached file, from the name of the blob that it links to.

    huggingface_hub names a blob by its SHA-256, or by git's id if the file is kept in git.
    """
    name = file.resolve().name if file.is_symlink() else ""
    is_hash = all(char in "0123456789abcdef" for char in name)
    return HubFile(
        size=file.stat().st_size,
        sha256=name if is_hash and len(name) == _SHA256_DIGITS else None,
        git_sha1=name if is_hash and len(name) == _SHA1_DIGITS else None,
    )


def _cached_revisions(repo_id: str) -> dict[str, str]:
    folder = cache_folder_of(repo_id)
    if not folder.is_dir():
        raise SourceError(
            Phrase(
                "hf://{repo_id} is not in the local cache {parent}", repo_id=repo_id, parent=folder.parent
            ),
            "unset HF_HUB_OFFLINE to fetch it from the Hub",
        )
    refs = folder / "refs"
    found = [path for path in refs.rglob("*") if path.is_file()]
    return {path.relative_to(refs).as_posix(): path.read_text("utf-8").strip() for path in sorted(found)}


def _cached_files(repo_id: str, commit: str) -> dict[str, HubFile]:
    """Return the files in the cache; an earlier listing has priority over their blobs' names."""
    snapshot = cache_folder_of(repo_id) / "snapshots" / commit
    known = recall_listing(repo_id, commit) or {}
    files = {}
    for folder, _, names in os.walk(snapshot):
        for path in (Path(folder, name) for name in names):
            if path.is_file():
                inside = path.relative_to(snapshot).as_posix()
                files[inside] = known.get(inside) or as_published(path)
    return files
