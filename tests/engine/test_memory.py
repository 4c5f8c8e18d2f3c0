"""Lack of memory is recognised on every device, and a batch that does not fit is halved."""

from __future__ import annotations

import pytest
import torch

from milepost.engine.memory import BatchLimit, is_out_of_memory


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: out of memory",
        "MPS backend out of memory (MPS allocated: 8 GB)",
        "[enforce fail at alloc_cpu.cpp:75] . DefaultCPUAllocator: can't allocate memory",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cusparse error: CUSPARSE_STATUS_ALLOC_FAILED",
        "HIP error: hipErrorOutOfMemory",
    ],
)
def test_out_of_memory_messages_of_every_library_are_recognised(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "No valid triton configs. OutOfMemoryError: out of resource: triton_tem_fused_0 Required: 153600"
            " Hardware limit: 101376 Reducing block sizes or `num_stages` may help."
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        ValueError("out of memory"),
    ],
)
def test_other_failures_are_not_taken_for_a_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_out_of_memory_exceptions_need_no_message() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("?"))
    assert is_out_of_memory(MemoryError())


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    limit, done, tried = BatchLimit(9), 0, []
    while done < 10:
        size = min(limit.limit, 10 - done)
        with limit.halving(size):
            tried.append(size)
            if size > 3:
                raise MemoryError
            done += size
    assert tried == [9, 5, 3, 3, 3, 1]


@pytest.mark.parametrize(("size", "can_split"), [(1, True), (8, False)])
def test_a_batch_without_smaller_parts_raises(size: int, can_split: bool) -> None:
    limit = BatchLimit(8)
    with pytest.raises(MemoryError), limit.halving(size, can_split=can_split):
        raise MemoryError
    assert limit.limit == 8


def test_other_errors_of_a_batch_are_raised() -> None:
    limit = BatchLimit(8)
    with pytest.raises(RuntimeError, match="illegal memory access"), limit.halving(8):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    assert limit.limit == 8
