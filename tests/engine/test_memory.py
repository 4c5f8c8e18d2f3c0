"""Freed memory is kept for the next pack, unless somebody has told glibc otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from milepost.engine.memory import MALLOC_SETTINGS, is_out_of_memory

FAULTS = """
import resource, torch
from milepost.engine.memory import keep_freed_memory
if {keep}: print(keep_freed_memory())
torch.set_num_threads(1)
x, w = torch.ones(2048, 192), torch.ones(512, 192)
def layer():
    a, b = torch.nn.functional.linear(x, w), torch.nn.functional.linear(x, w)
    return torch.nn.functional.silu(a) * b
layer()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30): layer()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def said(script: str, **environment: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in MALLOC_SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_layer_that_runs_again_gets_its_memory_back_without_page_faults() -> None:
    kept, faults = said(FAULTS.format(keep=True))
    assert kept == "True"
    # The heap may still grow by a few of the 4 MB blocks; without it each of 30 runs faults its four in anew.
    assert int(faults) < 10_000 < 30 * 4 * 1024


@pytest.mark.parametrize("name", MALLOC_SETTINGS)
def test_settings_of_ones_own_are_left_alone(name: str) -> None:
    value = "glibc.malloc.tcache_count=7" if name == "GLIBC_TUNABLES" else "131072"
    assert said(FAULTS.format(keep=True), **{name: value})[0] == "False"


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
def test_every_library_s_words_for_no_memory_are_known(text: str) -> None:
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
def test_other_failures_are_not_taken_for_a_want_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_exceptions_that_stand_for_no_memory_need_no_words() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("?"))
    assert is_out_of_memory(MemoryError())
