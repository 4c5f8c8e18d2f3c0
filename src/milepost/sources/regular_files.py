"""Files of a foreign folder, opened only where they are files.

Opening a named pipe waits for ever, and a device such as `/dev/zero` never ends; a file of hours' length
fills the memory. So everything that is read of a checkpoint is opened here.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST_DESCRIPTION = 500_000_000
"""Bytes of a file that describes a model or a tokenizer; the largest tokenizers have some 40 million."""

_LARGE = 100_000_000
"""Bytes; smaller files are not looked at for holes."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: Path, *, buffering: int = -1) -> BinaryIO:
    """The file, open for reading.

    Args:
        buffering: as of `open`.

    Raises:
        OSError: it cannot be opened, or is no file; `strerror` says what it is instead.
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
    """All bytes of a file.

    Raises:
        OSError: as `open_regular`, or it is longer than `limit` bytes.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is longer than {limit} bytes", str(path))
    return content


def kind_of(mode: int) -> str | None:
    """What something that is no file is called; None for a file.

    Args:
        mode: `st_mode` of it.
    """
    if stat.S_ISREG(mode):
        return None
    return next((what for is_kind, what in _KINDS if is_kind(mode)), "something else")


def irregular(path: Path) -> str | None:
    """What lies there instead of a file: `a named pipe`, `a link to nothing`; None for a file or nothing."""
    try:
        return kind_of(os.stat(path).st_mode)
    except OSError:
        return "a link to a file that is not there" if os.path.islink(path) else None


def too_large(path: Path) -> str | None:
    """Why a file that is no weights is not read: more bytes than any description of a model has.

    Hashing a hollow file of a terabyte takes as long as a full one.
    """
    try:
        size = os.stat(path).st_size
    except OSError:
        return None
    return f"has {size:,} bytes, more than such a file can have" if size > LARGEST_DESCRIPTION else None


def is_hollow(path: Path) -> bool:
    """Whether a large file was never written: nearly all of it is holes, which read as zeros."""
    try:
        state = os.stat(path)
    except OSError:
        return False
    on_disk = getattr(state, "st_blocks", None)
    return on_disk is not None and state.st_size > _LARGE and on_disk * 512 < state.st_size // 100
