"""Freed memory is kept for the next pack, unless the user has set glibc's options."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from milepost.engine.allocator import MALLOC_SETTINGS

FAULTS = """
import resource, torch
from milepost.engine.allocator import keep_freed_memory
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
def test_settings_of_the_user_are_left_alone(name: str) -> None:
    value = "glibc.malloc.tcache_count=7" if name == "GLIBC_TUNABLES" else "131072"
    assert said(FAULTS.format(keep=True), **{name: value})[0] == "False"


@pytest.mark.parametrize(
    "builds", ["build_engine('auto', model,", "build_generator('auto', model, Characters(),"]
)
def test_engines_and_generators_set_the_allocator(builds: str) -> None:
    script = f"""
from milepost.engine import build_engine, build_generator
from milepost.engine.allocator import keep_freed_memory
from tests.engine.models import VOCAB, tiny_model
from tests.engine.texts import Characters
model = tiny_model("llama")
{builds} vocab_size=VOCAB)
print(keep_freed_memory.cache_info().currsize)
"""
    assert said(script, PYTHONPATH=str(Path(__file__).parents[2])) == ["1"]
