"""Compare files in the Hub cache with the published ones, and delete damaged files.

huggingface_hub compares neither downloads nor cached files with the published hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from milepost.sources.digests import sha256_of
from milepost.sources.hub.listing_cache import HubFile
from milepost.sources.links import hub_cache_around
from milepost.sources.regular_files import read_regular
from milepost.sources.unreadable_files import unreadable
from milepost.text.language import Phrase

_MAX_GIT_BYTES = 100_000_000
"""Larger files are in large-file storage; the Hub's own limit is a tenth of it."""


def damaged_files(snapshot: Path, wanted: Mapping[str, HubFile], cache_dir: Path | None) -> dict[str, str]:
    """Return path to damage, of the files of a snapshot that differ from the published ones.

    Args:
        cache_dir: folder in which hashes of unchanged files are cached; None: files in large-file storage are
            not read (sizes, and git's ids of small files, are always compared).
    """
    found = {path: damage_of(snapshot / path, file, cache_dir) for path, file in wanted.items()}
    return {path: what for path, what in found.items() if what is not None}


def damage_of(path: Path, published: HubFile, cache_dir: Path | None) -> str | None:
    """Return the damage of a cached file, or None.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes != published.size:
            return Phrase("has {n} bytes, not the published {m}", n=n_bytes, m=published.size)
        if published.git_sha1 is not None and git_id(path) != published.git_sha1:
            return Phrase("is damaged: its git id is not the published one")
    except FileNotFoundError:
        return Phrase("is missing")
    except OSError as error:
        raise unreadable(path, error) from error
    if cache_dir is None or published.sha256 is None:
        return None
    if sha256_of(path.resolve(), cache_dir, has_trusted_hash=True) != published.sha256:
        return Phrase("is damaged: its SHA-256 is not the published one")
    return None


def git_id(path: Path) -> str:
    """Return git's id of a file's content (a blob) in hex, for small files that are kept in git."""
    content = read_regular(path, _MAX_GIT_BYTES)
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def drop(path: Path) -> None:
    """Delete a file from the Hub cache, link and blob, so that it is downloaded again."""
    blob = path.resolve()
    cache = hub_cache_around(path.parent.resolve())
    path.unlink(missing_ok=True)
    if cache is not None and blob.parent == cache / "blobs":
        blob.unlink(missing_ok=True)
