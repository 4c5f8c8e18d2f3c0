"""Make a checkpoint in a bucket local: only the files that are needed."""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatchcase
from pathlib import Path

from milepost.buckets import StoredObject
from milepost.errors import CheckpointError
from milepost.files.cache import write_cache_file
from milepost.sources.bucket.download import is_local, make_local, place_of
from milepost.sources.bucket.folders import bucket_layout
from milepost.sources.bucket.listing import listing_of
from milepost.sources.folder_inspection import has_tokenizer, is_read
from milepost.sources.formats import format_named
from milepost.sources.overrides import Overrides
from milepost.text.language import Phrase
from milepost.text.messages import shown
from milepost.types.checkpoints import BucketLocation, Checkpoint


def fetch_all(checkpoint: Checkpoint, location: BucketLocation) -> Path:
    """Return the local folder with the checkpoint's config and weights; download what is missing.

    Raises:
        CheckpointError: the store refuses or does not answer, or a file is damaged.
    """
    make_local(location, {**_described(checkpoint, location), **_weights(checkpoint, location)})
    return place_of(location)


def fetch_described(checkpoint: Checkpoint, location: BucketLocation) -> Path:
    """Return the same folder, with only the files that describe the checkpoint and its tokenizer.

    Raises:
        CheckpointError: as `fetch_all`.
    """
    make_local(location, _described(checkpoint, location))
    return place_of(location)


def is_all_local(checkpoint: Checkpoint, location: BucketLocation) -> bool:
    """Return True if `fetch_all` would download nothing."""
    wanted = {**_described(checkpoint, location), **_weights(checkpoint, location)}
    return all(is_local(path, one) for path, one in wanted.items())


def tokenizer_in_bucket(location: BucketLocation) -> Path | None:
    """Return the local folder with the tokenizer: the checkpoint's, or the one above; None without one.

    Raises:
        CheckpointError: the download failed.
    """
    listing, folder = listing_of(location), place_of(location)
    for files, place in ((listing.files, folder), (listing.above, folder.parent)):
        if has_tokenizer(list(files)):
            make_local(location, {place / name: one for name, one in files.items() if is_read(name)})
            return place
    return None


def known_digests(checkpoint: Checkpoint, location: BucketLocation, cache_dir: Path) -> dict[str, str] | None:
    """Return the SHA-256 of each weight file, as an earlier visit computed it; None where one is not known.

    The sums that a store has are MD5s; those of the identity are SHA-256, as of weights on a disk.
    """
    try:
        found = json.loads(_note(checkpoint, location, cache_dir).read_bytes())
        return {str(name): str(sha256) for name, sha256 in found.items()}
    except (OSError, ValueError, AttributeError):
        return None


def remember_digests(
    checkpoint: Checkpoint, location: BucketLocation, cache_dir: Path, digests: dict[str, str]
) -> None:
    """Keep the SHA-256 of each weight file for `known_digests`."""
    write_cache_file(_note(checkpoint, location, cache_dir), json.dumps(digests).encode())


def weight_sizes(checkpoint: Checkpoint, location: BucketLocation) -> dict[str, int]:
    """Return the bytes of each weight file, by path in the folder."""
    folder = place_of(location)
    return {
        path.relative_to(folder).as_posix(): one.size for path, one in _weights(checkpoint, location).items()
    }


def _note(checkpoint: Checkpoint, location: BucketLocation, cache_dir: Path) -> Path:
    weights = sorted(
        (str(path), one.size, one.version) for path, one in _weights(checkpoint, location).items()
    )
    name = hashlib.sha256(repr((location.address, weights)).encode()).hexdigest()[:32]
    return cache_dir / "bucket-sha256" / f"{name}.json"


def _weights(checkpoint: Checkpoint, location: BucketLocation) -> dict[Path, StoredObject]:
    layout = bucket_layout(listing_of(location), location, Overrides(config=checkpoint.config))
    if layout is None or layout.problem:
        problem = layout.problem if layout else "no weights in it"
        raise CheckpointError(Phrase("{source}: {problem}", source=shown(checkpoint.source), problem=problem))
    files, folder = listing_of(location).files, place_of(location)
    return {folder / name: files[name] for name in layout.weight_files}


def _described(checkpoint: Checkpoint, location: BucketLocation) -> dict[Path, StoredObject]:
    """Return the small files: config, index, tokenizer, sums; and those of the folder above."""
    listing, folder = listing_of(location), place_of(location)
    format = format_named(checkpoint.format)
    patterns = format.describing if format else ()
    found = {
        folder / name: one
        for name, one in listing.files.items()
        if is_read(name) or any(_matches(name, pattern) for pattern in patterns)
    }
    return found | {folder.parent / name: one for name, one in listing.above.items()}


def _matches(name: str, pattern: str) -> bool:
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
