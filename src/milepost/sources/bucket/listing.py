"""List the objects of a checkpoint's folder in a bucket, and of the folder above it."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from milepost.buckets import BucketPath, StoredObject, as_path, bucket_of
from milepost.errors import CheckpointError
from milepost.sources.folder_inspection import is_read
from milepost.text.language import Phrase
from milepost.text.messages import shown
from milepost.types.checkpoints import BucketLocation

MOST_OBJECTS = 200_000
_listed: dict[BucketLocation, FolderListing] = {}


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The objects that belong to a checkpoint."""

    files: Mapping[str, StoredObject]
    """Objects of the folder and below, by path in the folder."""
    above: Mapping[str, StoredObject]
    """Small files of the folder above, by name: a run has one config or tokenizer for all checkpoints."""

    def location(self, folder: BucketPath) -> BucketLocation:
        """Return the folder as it is in this listing, which is remembered."""
        told = [
            (name, one.size, one.version) for part in (self.files, self.above) for name, one in part.items()
        ]
        version = hashlib.sha256(repr(sorted(told)).encode()).hexdigest()[:32]
        location = BucketLocation(address=str(folder), version=version)
        _listed[location] = self
        return location


def objects_below(folder: BucketPath) -> dict[str, StoredObject]:
    """Return the objects below a folder as they are now, by path in it.

    Raises:
        BucketError: the store refuses or does not answer.
    """
    cut = len(folder.key) + 1 if folder.key else 0
    found = bucket_of(folder.bucket).list_folder(folder.key, recursive=True)[0]
    return {one.key[cut:]: one for one in found[:MOST_OBJECTS] if _stays(one.key)}


def list_folder(folder: BucketPath) -> FolderListing:
    """Return a folder's listing as it is now. Raises: BucketError."""
    return FolderListing(objects_below(folder), read_above(folder))


def read_above(folder: BucketPath) -> dict[str, StoredObject]:
    """Return the small files of the folder above. Raises: BucketError."""
    if not folder.key:
        return {}
    parent = folder.parent
    objects = bucket_of(parent.bucket).list_folder(parent.key)[0]
    return {name: one for one in objects if is_read(name := one.key.rpartition("/")[2])}


def listing_of(location: BucketLocation) -> FolderListing:
    """Return the objects of a location as they were when it was found.

    Raises:
        CheckpointError: an object was written or removed since, in another process.
        BucketError: the store refuses or does not answer.
    """
    if location not in _listed:
        folder = cast("BucketPath", as_path(location.address))
        if list_folder(folder).location(folder) != location:
            raise CheckpointError(
                Phrase("{address} has changed since it was listed", address=shown(location.address)),
                "run again once nobody writes to it",
            )
    return _listed[location]


def snapshot_of(location: BucketLocation) -> tuple[tuple[str, int, int], ...] | None:
    """Return name, size and a number that changes with the bytes, of each object as it is now; None if gone.

    Raises:
        BucketError: the store refuses or does not answer.
    """
    found = objects_below(cast("BucketPath", as_path(location.address)))
    told = [(name, one.size, zlib.crc32(one.version.encode())) for name, one in found.items()]
    return tuple(sorted(told)) or None


def _stays(key: str) -> bool:
    """Return whether a key is a path that stays in its folder once it is on a disk."""
    return not any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in key.split("/"))
