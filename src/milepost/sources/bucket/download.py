"""Download files of a checkpoint from a bucket into the user's cache; compare them with the store's sums.

    buckets/<address and version>/<files of the folder above>
    buckets/<address and version>/<checkpoint>/<its files>

A download that was cut off goes on where it ended. A file is complete under its own name only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from milepost.buckets import Bucket, BucketPath, StoredObject, as_path, bucket_of
from milepost.errors import BucketError, CheckpointError
from milepost.files.cache import FILES_OF_BUCKETS, cache_folder, mark_used, remove_unused
from milepost.network.downloads import Transfer, counting
from milepost.text.language import Phrase
from milepost.text.messages import shown
from milepost.types.checkpoints import BucketLocation

PART_BYTES = 16 << 20
THREADS = 4


def place_of(location: BucketLocation) -> Path:
    """Return the folder in the cache for the files of a location."""
    name = hashlib.sha256(f"{location.address}\0{location.version}".encode()).hexdigest()[:32]
    return cache_folder() / FILES_OF_BUCKETS / name / as_path(location.address).name


def make_local(location: BucketLocation, wanted: Mapping[Path, StoredObject]) -> None:
    """Download the files that are missing.

    Args:
        wanted: place in the cache to the object.

    Raises:
        CheckpointError: the store refuses or does not answer, a file is damaged, or the disk is full.
    """
    bucket = bucket_of(cast("BucketPath", as_path(location.address)).bucket)
    remove_unused(cache_folder() / FILES_OF_BUCKETS)
    missing = {path: one for path, one in wanted.items() if not is_local(path, one)}
    for path in wanted.keys() - missing.keys():
        mark_used(path)
    total = sum(one.size for one in missing.values())
    with counting(shown(location.address), total) as transfer, ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(_download, bucket, one, path, transfer) for path, one in missing.items()]
        try:
            for download in waiting:
                download.result()
        except BucketError as error:
            pool.shutdown(wait=False, cancel_futures=True)
            raise CheckpointError(error.message, error.hint) from error
        except OSError as error:
            pool.shutdown(wait=False, cancel_futures=True)
            raise CheckpointError(
                Phrase(
                    "{address} cannot be stored: {reason}",
                    address=shown(location.address),
                    reason=str(error.strerror or error),
                ),
                "MILEPOST_CACHE=a folder on a larger disk",
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def is_local(path: Path, one: StoredObject) -> bool:
    """Return whether a file was downloaded completely."""
    return path.is_file() and path.stat().st_size == one.size


def _download(bucket: Bucket, one: StoredObject, path: Path, transfer: Transfer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    what = shown(f"{bucket.address}/{one.key}")
    part = path.with_name(f".{path.name}.{hashlib.sha256(one.version.encode()).hexdigest()[:16]}.part")
    with part.open("ab") as file:
        transfer.add(file.tell())  # from an earlier attempt
        while (at := file.tell()) < one.size:
            try:
                data = bucket.read(one.key, at, min(at + PART_BYTES, one.size))
            except FileNotFoundError as error:
                raise CheckpointError(
                    Phrase("{what} was removed while it was downloaded", what=what)
                ) from error
            if not data:
                raise CheckpointError(
                    Phrase("{what} is shorter than listed; it was overwritten meanwhile", what=what)
                )
            file.write(data)
            transfer.add(len(data))
    now = bucket.object_at(one.key)
    if now is None or now.version != one.version:
        part.unlink()
        raise CheckpointError(
            Phrase("{what} was overwritten while it was downloaded", what=what),
            "run again once nobody writes to it",
        )
    if damage := _damage(bucket, one, part):
        part.unlink()
        raise CheckpointError(
            Phrase("{what} is damaged: {damage}", what=what, damage=damage), "run again to download it again"
        )
    os.replace(part, path)


def _damage(bucket: Bucket, one: StoredObject, file: Path) -> str | None:
    """Compare a file with the sum that the store has of it, where it has one."""
    if one.md5 is not None:
        return None if _md5_in_parts(file, max(one.size, 1)) == one.md5 else "its MD5 is not the store's"
    promised = bucket.md5_of_parts(one.key, one.version)
    if promised is None:
        return None
    size, version = promised
    return None if _md5_in_parts(file, max(size, 1)) == version else "its MD5 is not the store's (ETag)"


def _md5_in_parts(file: Path, size: int) -> str:
    """Return a file's MD5 as an ETag has it: its own, or the MD5 of those of its parts with their number."""
    n_bytes, sums = file.stat().st_size, list[bytes]()
    with file.open("rb") as data:
        for start in range(0, max(n_bytes, 1), size):
            digest, left = hashlib.md5(usedforsecurity=False), min(size, n_bytes - start)
            while left and (block := data.read(min(left, 1 << 22))):
                digest.update(block)
                left -= len(block)
            sums.append(digest.digest())
    if n_bytes <= size:
        return sums[0].hex()
    return f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"
