"""Out-of-memory errors of every device, and batches that are halved until they fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cudaErrorMemoryAllocation|hipErrorOutOfMemory"
    r"|CU[A-Z]+_STATUS_\w*ALLOC|CU[A-Z]+_STATUS_NOT_INITIALIZED",
    re.IGNORECASE,
)
"""Messages of torch's allocators and CUDA's libraries. cuBLAS and cuDNN report "not initialized" when their
first handle finds no memory for its workspace."""
KERNEL_TOO_LARGE = "out of resource"
"""Triton's words, beside `OutOfMemoryError`, for a kernel that wants more shared memory than the card has. A
smaller pack does not help: the kernel wants as much for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception reports a failed allocation: CUDA, its libraries, MPS or a CPU."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    if not isinstance(error, RuntimeError) or KERNEL_TOO_LARGE in str(error):
        return False
    return OUT_OF_MEMORY.search(str(error)) is not None


class BatchLimit:
    """The largest batch that is tried, in any unit; it is halved whenever memory runs out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    @contextmanager
    def halving(self, size: int, *, can_split: bool = True) -> Iterator[None]:
        """Run a batch inside the context; if memory runs out, halve the limit and leave the context normally.

        The caller records its results as the last step inside the context, so that a batch that failed is
        still to do, and runs it again in smaller parts.

        Args:
            size: of the batch, in the unit of the limit.
            can_split: False if the batch has no smaller part: the error is then raised.
        """
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if size <= 1 or not can_split or not is_out_of_memory(error):
                raise
            self.limit = (size + 1) // 2
