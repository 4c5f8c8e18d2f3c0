"""What running out of memory looks like on any device, and freed memory that is kept for the next pack."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

import torch

OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""glibc's own switches; where one is set, it is left alone."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_INT = 2**31 - 1
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
"""glibc takes no larger one."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that an allocation failed (CUDA, MPS, or torch's CPU allocator)."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("out of memory", "not enough memory", "can't allocate memory")
    )


@functools.cache
def keep_freed_memory() -> bool:
    """Have glibc keep blocks of up to 32 MB that are freed, for the whole process, and say whether it does.

    A forward pass on a CPU allocates and frees the same few megabytes thousands of times. glibc gives such
    blocks back to the system, more or less of them from run to run as chance would have it, and each time
    they come back page by page, zeroed: a tenth to a third of a small model's time.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in OWN_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library, such as musl
    kept = mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
    return all(kept)
