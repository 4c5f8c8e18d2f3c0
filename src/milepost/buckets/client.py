"""Make requests to one bucket, again while the store is busy.

fsspec's file systems (s3fs, gcsfs) make the requests, with the settings that boto and gcloud know:
AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS and so on. Nothing here
remembers an answer. S3 and Google Cloud Storage show every object as it was last written, also in lists.
"""

from __future__ import annotations

import base64
import errno
import functools
import importlib.util
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from milepost.buckets.failures import code_of, explained, is_from_the_store, may_pass, no_bucket, reason_of
from milepost.errors import BucketError, MilepostError
from milepost.text.language import Phrase

T = TypeVar("T")

THREADS = 16
"""Requests under way at once where many objects are read."""
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses between attempts while the store does not answer; s3fs itself repeats some requests at once."""
CONNECT_S, READ_S = 10, 60
PAGE = 1000
"""Names in one answer of a list; S3 gives no more."""
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}

logger = logging.getLogger("milepost.buckets")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the store lists it."""

    key: str
    size: int
    version: str
    """Changes whenever other bytes are written (ETag)."""
    modified: float
    """When it was written, by the clock of the store, in seconds since 1970."""
    md5: str | None = None
    """MD5 of the bytes in hex, where the list says it."""


@functools.lru_cache(maxsize=64)
def bucket_of(address: str) -> Bucket:
    """Return the client of a bucket such as `s3://name`. Raises: BucketError if its package is missing."""
    return Bucket(address)


class Bucket:
    """Requests to one bucket; each raises BucketError where the store refuses or does not answer."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.scheme, _, self.name = address.partition("://")
        package = _PACKAGES[self.scheme]
        if importlib.util.find_spec(package) is None:
            raise BucketError(
                Phrase("{address} needs {package}, which is not installed", address=address, package=package),
                "pip install 'milepost[remote]'",
            )
        self._has_answered = False

    def object_at(self, key: str) -> StoredObject | None:
        """Return an object's description; None if there is none of that key."""
        try:
            if self.scheme == "s3":
                found = self._ask(key, lambda: self._s3("head_object", Key=key))
                return _of_s3(key, {**found, "Size": found["ContentLength"]})
            other = self._ask(key, lambda: self._files.info(self._path(key)))
        except FileNotFoundError:
            return None
        return None if other["type"] == "directory" else _of_gs(other)

    def list_folder(self, prefix: str, *, recursive: bool = False) -> tuple[list[StoredObject], list[str]]:
        """Return the objects in a folder, and the names of the folders in it.

        Args:
            prefix: the folder's key, without a slash at its end.
            recursive: the objects of the folders below as well; no folders are named then.

        Raises:
            BucketError: also where there is no such bucket.
        """
        if self.scheme == "s3":
            return self._list_s3(f"{prefix}/" if prefix else "", recursive=recursive)
        path = self._path(prefix)
        try:
            if recursive:
                found = list(self._ask(prefix, lambda: self._files.find(path, detail=True)).values())
            else:
                found = self._ask(prefix, lambda: self._files.ls(path, detail=True))
        except FileNotFoundError:
            return [], []
        inside = f"{path}/"
        found = [one for one in found if one["name"].startswith(inside) and one["name"] != inside]
        folders = [one["name"].rstrip("/").rpartition("/")[2] for one in found if one["type"] == "directory"]
        return [_of_gs(one) for one in found if one["type"] != "directory"], folders

    def _list_s3(self, prefix: str, *, recursive: bool) -> tuple[list[StoredObject], list[str]]:
        """Return as `list_folder`, by a request per thousand names; s3fs asks twice about an empty folder."""
        objects: list[StoredObject] = []
        folders: list[str] = []
        page: dict[str, Any] = {"MaxKeys": PAGE} | ({} if recursive else {"Delimiter": "/"})
        while True:
            asked = {**page, "Prefix": prefix}
            found = self._ask(prefix, functools.partial(self._s3, "list_objects_v2", **asked))
            objects += [_of_s3(one["Key"], one) for one in found.get("Contents", ()) if one["Key"] != prefix]
            folders += [one["Prefix"][len(prefix) :].rstrip("/") for one in found.get("CommonPrefixes", ())]
            if not found.get("IsTruncated"):
                return objects, folders
            page["ContinuationToken"] = found["NextContinuationToken"]

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of an object, or those from `start` to `end` (exclusive).

        Raises:
            FileNotFoundError: there is none of that key.
        """
        options = {"max_concurrency": 1} if self.scheme == "s3" else {}  # else its size is asked first
        data: bytes = self._ask(
            key, lambda: self._files.cat_file(self._path(key), start=start, end=end, **options)
        )
        return data

    def read_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the bytes of several objects, read at once; those that are not there are left out."""

        def read(key: str) -> bytes | None:
            try:
                return self.read(key)
            except FileNotFoundError:
                return None

        keys = list(keys)
        with ThreadPoolExecutor(min(THREADS, max(1, len(keys)))) as pool:
            found = dict(zip(keys, pool.map(read, keys), strict=True))
        return {key: data for key, data in found.items() if data is not None}

    def write(self, key: str, data: bytes) -> StoredObject | None:
        """Write an object, in the place of an earlier one; readers see one of both, whole.

        Returns:
            Its description, where the answer has it.
        """
        answer = self._ask(key, lambda: self._files.pipe_file(self._path(key), data), writes=True)
        if not isinstance(answer, Mapping) or "ETag" not in answer:
            return None
        return StoredObject(key, len(data), str(answer["ETag"]).strip('"'), time.time())

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; of several processes that do this at once one succeeds.

        This is a conditional put (`If-None-Match: *`; on Google Cloud Storage `ifGenerationMatch=0`).
        """
        try:
            self._ask(key, lambda: self._files.pipe_file(self._path(key), data, mode="create"), writes=True)
        except FileExistsError:
            # A request whose answer was lost is sent again, and then finds what it wrote itself.
            try:
                return self.read(key) == data
            except FileNotFoundError:
                return False
        return True

    def remove(self, key: str) -> None:
        """Remove an object, if there is one."""
        try:
            self._ask(key, lambda: self._files.rm_file(self._path(key)), writes=True)
        except FileNotFoundError:
            return

    def md5_of_parts(self, key: str, version: str) -> tuple[int, str] | None:
        """Return the size of the parts in which an object was written to S3, and the MD5 of their MD5s.

        The size is the object's own where it was written at once. None where the version is not made of MD5s
        (an encryption with keys of a service), or the store does not tell the size of a part.
        """
        whole, dash, n_parts = version.partition("-")
        if self.scheme != "s3" or len(whole) != 32 or not all(c in "0123456789abcdef" for c in whole):
            return None

        def head(**more: Any) -> Mapping[str, Any]:
            return self._ask(key, lambda: self._s3("head_object", Key=key, **more))

        try:
            described = head()
            if (
                described.get("ServerSideEncryption", "AES256") != "AES256"
                or "SSECustomerAlgorithm" in described
            ):
                return None
            if not dash:
                return int(described["ContentLength"]), whole
            part = head(PartNumber=1)
        except (OSError, MilepostError):
            return None
        size = int(part["ContentLength"])
        total = int(described["ContentLength"])
        is_plausible = size and -(-total // size) == int(n_parts)
        return (size, version) if is_plausible else None

    @property
    def _files(self) -> Any:
        """Return fsspec's file system, which keeps one per process and thread."""
        import fsspec

        if self.scheme == "s3":
            return fsspec.filesystem(
                "s3",
                use_listings_cache=False,
                config_kwargs={
                    "connect_timeout": CONNECT_S,
                    "read_timeout": READ_S,
                    "max_pool_connections": 2 * THREADS,
                    "retries": {"total_max_attempts": 1},  # s3fs and `_ask` repeat requests
                },
            )
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it asks every bucket by gRPC
        return fsspec.filesystem("gs", use_listings_cache=False)

    def _path(self, key: str) -> str:
        return f"{self.name}/{key}" if key else self.name

    def _s3(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._files.call_s3(method, Bucket=self.name, **arguments)
        return answer

    def _ask(self, key: str, request: Callable[[], T], *, writes: bool = False) -> T:
        """Make a request, again after a pause while the store is busy or the connection is bad.

        A store that has never answered is asked only as often as the file system does by itself.

        Raises:
            FileNotFoundError, FileExistsError: the answer is that there is no such object, or that there is.
            BucketError: anything else.
        """
        for pause_s in (*PAUSES_S, None):
            try:
                answer = request()
            except (FileExistsError, FileNotFoundError) as refusal:
                self._has_answered = True
                if code_of(refusal) == "NoSuchBucket":
                    raise no_bucket(self.scheme, self.name) from refusal
                raise
            except Exception as failure:
                if code_of(failure) in ("PreconditionFailed", "412"):
                    raise FileExistsError(errno.EEXIST, "there is such an object", key) from failure
                if not is_from_the_store(failure):
                    raise
                if pause_s is None or not self._has_answered or not may_pass(failure):
                    where = f"{self.address}/{key}" if key else self.address
                    raise explained(where, failure, writes=writes) from failure
                logger.info(
                    "%s/%s: %s; next attempt in %.1f s", self.address, key, reason_of(failure), pause_s
                )
                time.sleep(pause_s)
            else:
                self._has_answered = True
                return answer
        raise AssertionError("unreachable: the last attempt returns or raises")


def _of_s3(key: str, found: Mapping[str, Any]) -> StoredObject:
    version, when = str(found["ETag"]).strip('"'), found["LastModified"]
    return StoredObject(key, int(found["Size"]), version, when.timestamp())


def _of_gs(found: Mapping[str, Any]) -> StoredObject:
    when, md5 = found.get("mtime"), found.get("md5Hash")
    return StoredObject(
        key=str(found["name"]).partition("/")[2],
        size=int(found["size"]),
        version=str(found.get("etag") or found.get("generation") or ""),
        modified=when.timestamp() if isinstance(when, datetime) else 0.0,
        md5=base64.b64decode(md5).hex() if md5 else None,
    )
