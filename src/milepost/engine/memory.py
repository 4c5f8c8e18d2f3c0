"""What running out of memory looks like on any device, and freed memory that is kept for the next pack."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
from typing import Any

import torch

MALLOC_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""glibc's own optimizations; where one is set, it is left alone."""
CUDA_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
"""The same of torch's allocator."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_INT = 2**31 - 1
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
"""glibc takes no larger one."""


SHORT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cudaErrorMemoryAllocation|hipErrorOutOfMemory"
    r"|CU[A-Z]+_STATUS_\w*ALLOC|CU[A-Z]+_STATUS_NOT_INITIALIZED",
    re.IGNORECASE,
)
"""How torch's allocators and CUDA's libraries say it. cuBLAS and cuDNN are not initialised where their first
handle finds no memory for its workspace."""
TOO_LARGE_A_KERNEL = "out of resource"
"""Triton says this beside `OutOfMemoryError` where a kernel wants more shared memory than the card
has; it wants as much of it for a smaller pack."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that an allocation failed: CUDA, its libraries, MPS, or on a CPU."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    if not isinstance(error, RuntimeError) or TOO_LARGE_A_KERNEL in str(error):
        return False
    return SHORT_OF_MEMORY.search(str(error)) is not None


@functools.cache
def join_freed_memory() -> bool:
    """Have CUDA's allocator map memory page by page (`expandable_segments`), and say whether it does.

    A pack that is halved, or another size of context, wants blocks that the freed ones are too small for.
    Left alone where the environment variable says anything of its own.
    """
    if any(name in os.environ for name in CUDA_SETTINGS):
        return False
    try:
        settings: Any = torch._C
        settings._accelerator_setAllocatorSettings("expandable_segments:True")
    except (AttributeError, RuntimeError, ValueError):
        return False  # an older torch, or a platform without it
    return True


@functools.cache
def keep_freed_memory() -> bool:
    """Have glibc keep blocks of up to 32 MB that are freed, for the whole process, and say whether it does.

    A forward pass on a CPU allocates and frees the same few megabytes thousands of times. glibc gives such
    blocks back to the system, more or less of them from run to run as chance would have it, and each time
    they come back page by page, zeroed: a tenth to a third of a small model's time.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in MALLOC_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library, such as musl
    kept = mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
    return all(kept)
