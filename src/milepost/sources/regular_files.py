"""Open files of a foreign folder only if they are regular files.

Opening a named pipe waits for ever, a device such as `/dev/zero` never ends, and an endless file fills the
memory. So every file of a checkpoint is opened here.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST_DESCRIPTION = 500_000_000
"""Limit in bytes for files that describe a model or tokenizer; the largest tokenizers have 40 million."""

_LARGE = 100_000_000
"""Bytes; smaller files are not checked for holes."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: Path, *, buffering: int = -1) -> BinaryIO:
    """Open a file for reading; `buffering` as in `open`.

    Raises:
        OSError: the file cannot be opened, or is not a regular file; `strerror` says what it is.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        what = kind_of(os.fstat(descriptor).st_mode)
        if what is not None:
            raise OSError(errno.EINVAL, f"it is {what}, not a file", str(path))
        return os.fdopen(descriptor, "rb", buffering)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit: int) -> bytes:
    """Return all bytes of a file.

    Raises:
        OSError: as `open_regular`, or the file is longer than `limit` bytes.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is longer than {limit} bytes", str(path))
    return content


def kind_of(mode: int) -> str | None:
    """Return the kind of a file by its `st_mode`, such as `a named pipe`; None for regular files."""
    if stat.S_ISREG(mode):
        return None
    return next((what for is_kind, what in _KINDS if is_kind(mode)), "something else")


def irregular(path: Path) -> str | None:
    """Return the kind of an irregular file (`a named pipe`), or None for a regular or missing file."""
    try:
        return kind_of(os.stat(path).st_mode)
    except OSError:
        return "a link to a file that is not there" if os.path.islink(path) else None


def too_large(path: Path) -> str | None:
    """Return a problem if a file that is not weights is too large to describe a model, else None.

    Hashing a sparse file of a terabyte takes as long as a full one.
    """
    try:
        size = os.stat(path).st_size
    except OSError:
        return None
    return f"has {size:,} bytes, more than such a file can have" if size > LARGEST_DESCRIPTION else None


def is_hollow(path: Path) -> bool:
    """Return True for a large file that is nearly all holes, which read as zeros."""
    try:
        state = os.stat(path)
    except OSError:
        return False
    on_disk = getattr(state, "st_blocks", None)
    return on_disk is not None and state.st_size > _LARGE and on_disk * 512 < state.st_size // 100
