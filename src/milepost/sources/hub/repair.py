"""Whether files in the Hub cache are what was published, and how a damaged one is dropped.

huggingface_hub compares neither what it downloads nor what it finds in its cache with the published hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.digests import sha256_of
from milepost.sources.hub.listing_cache import HubFile
from milepost.sources.links import hub_cache_around
from milepost.sources.names import shown
from milepost.sources.regular_files import read_regular

_MAX_GIT_BYTES = 100_000_000
"""Larger files are kept in large-file storage; the Hub's own limit is a tenth of it."""


def damaged_files(snapshot: Path, wanted: Mapping[str, HubFile], cache_dir: Path | None) -> dict[str, str]:
    """What is wrong with each of the files of a snapshot that is not as published, by its path.

    Args:
        cache_dir: where hashes of unchanged files are remembered; None leaves files in large-file storage
            unread (sizes, and git's ids of small files, are always compared).
    """
    found = {path: damage_of(snapshot / path, file, cache_dir) for path, file in wanted.items()}
    return {path: what for path, what in found.items() if what is not None}


def damage_of(path: Path, published: HubFile, cache_dir: Path | None) -> str | None:
    """What is wrong with a cached file; None where nothing is known to be.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes != published.size:
            return f"has {n_bytes} bytes, not the published {published.size}"
        if published.git_sha1 is not None and git_id(path) != published.git_sha1:
            return "is damaged: its git id is not the published one"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror or error}") from error
    if cache_dir is None or published.sha256 is None:
        return None
    if sha256_of(path.resolve(), cache_dir, judged_elsewhere=True) != published.sha256:
        return "is damaged: its SHA-256 is not the published one"
    return None


def git_id(path: Path) -> str:
    """Git's id of a file's content (a blob), in hex. For the small files that are kept in git."""
    content = read_regular(path, _MAX_GIT_BYTES)
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def drop(path: Path) -> None:
    """Take a file out of the Hub cache, so that it is downloaded again: its link, and the blob behind it."""
    blob = path.resolve()
    cache = hub_cache_around(path.parent.resolve())
    path.unlink(missing_ok=True)
    if cache is not None and blob.parent == cache / "blobs":
        blob.unlink(missing_ok=True)
