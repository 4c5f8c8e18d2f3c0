"""The server that workers are forked from."""

from __future__ import annotations

import subprocess
import sys

IMPORT = """
import threading, torch

def fail(*_):
    raise AssertionError("a GPU was asked for")

torch.cuda.is_available = torch.cuda.device_count = torch._C._cuda_init = fail
before = threading.active_count()
import milepost.run.executors.local.preloaded
print(threading.active_count() - before, torch.cuda.is_initialized())
"""


def test_what_workers_are_forked_from_has_no_threads_and_has_asked_for_no_gpu() -> None:
    ended = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "0 False\n"), ended.stderr
