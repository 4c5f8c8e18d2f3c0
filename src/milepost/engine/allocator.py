"""Settings of the C library's and CUDA's allocators for many forward passes of similar size."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Any

import torch

MALLOC_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Environment variables of glibc; if one is set, glibc's settings are left alone."""
CUDA_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
"""The same for torch's CUDA allocator."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_INT = 2**31 - 1
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
"""The largest that glibc accepts."""


def tune_allocator(module: torch.nn.Module) -> None:
    """Set the allocator of the device of a module, for the whole process, unless the user has set it."""
    device = next(module.parameters()).device.type
    if device == "cpu":
        keep_freed_memory()
    elif device == "cuda":
        join_freed_memory()


@functools.cache
def join_freed_memory() -> bool:
    """Let CUDA's allocator map memory page by page (`expandable_segments`); return whether it does.

    After a pack is halved, or with a longer context, the blocks that were freed are too small to be reused.
    """
    if any(map(os.environ.get, CUDA_SETTINGS)):
        return False
    torch_c: Any = torch._C
    try:
        # The second is an older torch's.
        change = getattr(
            torch_c, "_accelerator_setAllocatorSettings", torch.cuda.memory._set_allocator_settings
        )
        change("expandable_segments:True")
    except (AttributeError, RuntimeError, ValueError):
        return False  # a platform without it
    return True


@functools.cache
def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks of up to 32 MB for the whole process; return whether it does.

    A forward pass on a CPU allocates and frees the same few megabytes thousands of times. By default glibc
    returns such blocks to the system, and each comes back page by page and zeroed: a tenth to a third of a
    small model's time, different from run to run.
    """
    if not sys.platform.startswith("linux") or any(map(os.environ.get, MALLOC_SETTINGS)):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library, such as musl
    kept = mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
    return all(kept)
