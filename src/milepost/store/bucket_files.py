"""Files of results folders that lie in a bucket: what `safe_paths` does on a disk, by requests to the store.

A record is one object, which is written whole or not at all. What a list or a request has said of objects is
remembered until `forget`, so that a question about each of a thousand records is one list of their folder.
The content of records that were read or written here is kept in the user's cache by address and version, and
not fetched again.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from milepost.buckets import Bucket, BucketPath, StoredObject, as_path, bucket_of
from milepost.files.cache import RECORDS_OF_BUCKETS, cache_folder, mark_used, remove_unused, write_cache_file
from milepost.store.layout import FLEETING_KINDS, STORE

ABSENT_S = 1.0
"""For so long an object that a list did not name counts as absent."""


class BucketFiles:
    """The objects of one bucket, as this process has seen them."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._lock = threading.Lock()
        self._known: dict[str, StoredObject] = {}
        self._listed: dict[str, float] = {}
        """Folder to the time at which it was listed."""
        self._asked: Counter[str] = Counter()
        """Folder to the number of questions about single objects in it."""

    def forget(self) -> None:
        """Ask the store again from now on: other processes may have written and removed."""
        with self._lock:
            self._known.clear()
            self._listed.clear()
            self._asked.clear()

    # ---- looking --------------------------------------------------------------------------------------

    def find(self, key: str) -> StoredObject | None:
        """Return an object's description; the second question about a folder lists the folder."""
        folder = key.rpartition("/")[0]
        with self._lock:
            if key in self._known:
                return self._known[key]
            if time.monotonic() - self._listed.get(folder, -ABSENT_S) < ABSENT_S:
                return None
            self._asked[folder] += 1
            lists = self._asked[folder] > 1
        if lists:
            self.list_folder(folder)
            with self._lock:
                return self._known.get(key)
        return self.look(key)

    def look(self, key: str) -> StoredObject | None:
        """Return an object's description as it is now."""
        found = self.bucket.object_at(key)
        with self._lock:
            self._known.pop(key, None)
            if found is not None:
                self._known[key] = found
        return found

    def list_folder(self, folder: str, *, recursive: bool = False) -> tuple[list[StoredObject], list[str]]:
        """Return the objects of a folder as they are now, and the names of the folders in it."""
        objects, folders = self.bucket.list_folder(folder, recursive=recursive)
        listed = {folder, *(one.key.rpartition("/")[0] for one in objects)}
        with self._lock:
            for key in [key for key in self._known if key.rpartition("/")[0] in listed]:
                del self._known[key]
            self._known |= {one.key: one for one in objects}
            self._listed |= dict.fromkeys(listed, time.monotonic())
        return objects, folders

    # ---- reading --------------------------------------------------------------------------------------

    def read(self, key: str) -> bytes:
        """Return an object's bytes, from the cache where its version is known. Raises: FileNotFoundError."""
        with self._lock:
            known = None if is_fleeting(key) else self._known.get(key)
        if known is not None and (kept := self._kept(known)) is not None:
            return kept
        try:
            data = self.bucket.read(key)
        except FileNotFoundError:
            with self._lock:
                self._known.pop(key, None)
            raise
        if known is not None and known.size == len(data):
            write_cache_file(self._place_of(known), data)
        return data

    def bring(self, keys: Iterable[str]) -> None:
        """Fetch into the cache, at once, what `read` will be asked for."""
        keys = list(keys)
        with self._lock:
            unknown = Counter(key.rpartition("/")[0] for key in keys if key not in self._known)
        for folder, n in unknown.items():
            if n > 1:
                self.list_folder(folder)
        found = [one for key in keys if (one := self.find(key)) is not None]
        lacking = {one.key: one for one in found if not self._place_of(one).exists()}
        for key, data in self.bucket.read_many(lacking).items():
            if len(data) == lacking[key].size:
                write_cache_file(self._place_of(lacking[key]), data)

    def _kept(self, known: StoredObject) -> bytes | None:
        place = self._place_of(known)
        try:
            data = place.read_bytes()
        except OSError:
            return None
        mark_used(place)
        return data if len(data) == known.size else None

    def _place_of(self, known: StoredObject) -> Path:
        name = hashlib.sha256(
            f"{self.bucket.address}/{known.key}\0{known.version}\0{known.size}".encode()
        ).hexdigest()
        return cache_folder() / RECORDS_OF_BUCKETS / name[:2] / name

    # ---- writing --------------------------------------------------------------------------------------

    def write(self, key: str, data: bytes) -> None:
        """Write an object in the place of an earlier one."""
        with self._lock:
            self._known.pop(key, None)
        written = self.bucket.write(key, data)
        if written is not None and not is_fleeting(key):
            write_cache_file(self._place_of(written), data)
            with self._lock:
                self._known[key] = written

    def create(self, key: str, data: bytes) -> None:
        """Write an object. Raises: FileExistsError if there is one."""
        with self._lock:
            self._known.pop(key, None)
        if not self.bucket.create(key, data):
            raise FileExistsError(f"{self.bucket.address}/{key}")

    def remove(self, key: str) -> None:
        """Remove an object, if there is one."""
        with self._lock:
            self._known.pop(key, None)
        self.bucket.remove(key)


class Appended(io.BytesIO):
    """A file whose bytes are added to the end of an object when it is closed."""

    def __init__(self, files: BucketFiles, key: str) -> None:
        super().__init__()
        self._files = files
        self._key = key

    def close(self) -> None:
        """Write the object anew, with what was there before."""
        if not self.closed:
            try:
                before = self._files.bucket.read(self._key)
            except FileNotFoundError:
                before = b""
            added = self.getvalue()
            super().close()
            self._files.write(self._key, before + added)


_of_buckets: dict[str, BucketFiles] = {}


def files_of(path: Path) -> tuple[BucketFiles, str]:
    """Return the files of a path's bucket, and the path's key."""
    there = cast("BucketPath", as_path(path))
    if there.bucket not in _of_buckets:
        remove_unused(cache_folder() / RECORDS_OF_BUCKETS)
        _of_buckets[there.bucket] = BucketFiles(bucket_of(there.bucket))
    return _of_buckets[there.bucket], there.key


def forget_all() -> None:
    """Ask every store again from now on."""
    for files in _of_buckets.values():
        files.forget()


def is_fleeting(key: str) -> bool:
    """Return whether an object says who works now: leases and signs of life are always read afresh."""
    return any(f"/{STORE}/{kind}/" in f"/{key}" for kind in FLEETING_KINDS)
