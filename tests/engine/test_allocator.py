"""Freed memory is kept for the next pack, unless the user has set glibc's options."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from milepost.engine import allocator, build_engine, build_generator
from milepost.engine.allocator import MALLOC_SETTINGS, keep_freed_memory
from tests.engine.models import VOCAB, tiny_model
from tests.engine.texts import Characters

FAULTS = """
import resource, torch
from milepost.engine.allocator import keep_freed_memory
print(keep_freed_memory())
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_layer_that_runs_again_gets_its_memory_back_without_page_faults() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in MALLOC_SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    assert kept == "True"
    # The heap may still grow by a few of the 4 MB blocks; without it each of 30 runs faults its four in anew.
    assert int(faults) < 10_000 < 30 * 4 * 1024


@pytest.mark.parametrize("name", MALLOC_SETTINGS)
def test_settings_of_the_user_are_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "glibc.malloc.tcache_count=7" if name == "GLIBC_TUNABLES" else "131072")
    assert keep_freed_memory.__wrapped__() is False


@pytest.mark.parametrize("build", [build_engine, partial(build_generator, codec=Characters())])
def test_engines_and_generators_set_the_allocator(
    build: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: calls.append(True))
    build("auto", tiny_model("llama"), vocab_size=VOCAB)
    assert calls == [True]
