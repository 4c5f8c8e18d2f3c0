"""Addresses of places in object stores: `s3://bucket/folder` and `gs://bucket/folder`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from milepost.errors import MilepostError
from milepost.text.language import Phrase

SCHEMES = ("s3", "gs")
_ADDRESS = re.compile(r"(?P<scheme>s3|gs):/{1,2}(?P<rest>.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}")
_HINT = "write s3://bucket/folder or gs://bucket/folder"


def in_bucket(place: object) -> bool:
    """Return whether a path or an address names a place in an object store."""
    return isinstance(place, BucketPath) or bool(_ADDRESS.match(str(place)))


if TYPE_CHECKING:
    SystemPath = Path
else:
    SystemPath = type(Path())  # PosixPath or WindowsPath


class BucketPath(SystemPath):
    """The name of an object or a folder in a bucket, which is joined and cut as paths are.

    Its text is the address, with both slashes. The methods of a path that look at the disk raise TypeError:
    what is in a bucket is read and written by `store.safe_paths` and `sources.bucket`.
    """

    __slots__ = ()

    def __str__(self) -> str:
        text = super().__str__()
        return re.sub(r"^(s3|gs):/(?!/)", r"\1://", text)

    @property
    def bucket(self) -> str:
        """The address of the bucket: `s3://name`."""
        return f"{self.parts[0]}//{self.parts[1]}"

    @property
    def key(self) -> str:
        """The name within the bucket; empty for the bucket itself."""
        return "/".join(self.parts[2:])

    def _is_not_on_disk(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{self} is in a bucket and not on this machine's disk")

    stat = lstat = open = mkdir = iterdir = glob = rglob = unlink = touch = _is_not_on_disk
    exists = is_file = is_dir = is_symlink = resolve = absolute = _is_not_on_disk


def as_path(given: str | Path) -> Path:
    """Return a place as a path; one in a bucket as a `BucketPath`.

    Raises:
        MilepostError: an address without a bucket, or with a name that no bucket has.
    """
    text = str(given)
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return Path(given)
    if isinstance(given, BucketPath):
        return given
    bucket, _, key = found["rest"].partition("/")
    if not _BUCKET.fullmatch(bucket) or any(part in (".", "..") for part in key.split("/")):
        raise MilepostError(Phrase("{text} is not an address of a bucket", text=text), _HINT)
    path: Path = BucketPath(f"{found['scheme']}://{bucket}", key)
    return path
