"""Check what compiled attention needs on an NVIDIA GPU: Triton, a C compiler, Python's headers, a working
kernel.

Without them a run falls back to slower ways of computing the same, so nothing here is `broken`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from milepost.doctor.finding import Finding

COMPILERS = ("gcc", "clang")
"""Compilers in Triton's order, after $CC (triton/runtime/build.py)."""
TRIAL_S = 180.0
LARGEST_DIFFERENCE = 0.05
"""Between two ways of computing attention in half precision; a wrong mask differs by far more."""
_SLOWER = "until then runs use a slower attention"


def check_gpu() -> Iterator[Finding]:
    """Check everything that is needed to compile, and each GPU by a trial; without a GPU, return one line."""
    try:
        import torch
    except (ImportError, OSError):
        return  # check_torch has told
    if not torch.cuda.is_available():
        kind = "mps, for which nothing is compiled" if torch.backends.mps.is_available() else "the CPU"
        yield Finding("gpu", "ok", f"no CUDA GPU that torch can use; runs compute on {kind}")
        return
    needed = [check_triton(), check_compiler(), check_headers()]
    yield from needed
    if any(finding.status != "ok" for finding in needed):
        return  # the trial would only say the same in more words
    for number in range(torch.cuda.device_count()):
        yield try_attention(f"cuda:{number}")


def check_triton() -> Finding:
    """Check for Triton, which compiles the kernels; torch's wheels for Linux and CUDA install it."""
    if util.find_spec("triton") is None:
        return Finding(
            "triton", "warning", "is not installed",
            f"pip install triton (Linux), or triton-windows; {_SLOWER}",
        )  # fmt: skip
    try:
        return Finding("triton", "ok", metadata.version("triton"))
    except metadata.PackageNotFoundError:
        return Finding("triton", "ok", "is there, of unknown version")


def check_compiler() -> Finding:
    """Check for a C compiler, with which Triton builds its launchers."""
    named = os.environ.get("CC")
    found = next((path for name in (named, *COMPILERS) if name and (path := shutil.which(name))), None)
    if found is None:
        told = f"CC={named} is not a command" if named else f"none of {', '.join(COMPILERS)} is there"
        return Finding("C compiler", "warning", told, f"apt install gcc (as root), or set CC; {_SLOWER}")
    return Finding("C compiler", "ok", found)


def check_headers() -> Finding:
    """Check for Python.h, which Triton's launchers include."""
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.is_file():
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        return Finding(
            "Python.h", "warning", f"{header} is not there", f"apt install {package} (as root); {_SLOWER}"
        )
    return Finding("Python.h", "ok", str(header))


def try_attention(device: str, *, longest_s: float = TRIAL_S) -> Finding:
    """Compile a small attention for a device and compare it with plain attention, in a process of its own."""
    check = f"attention on {device}"
    command = [sys.executable, "-m", "milepost.doctor.attention_trial", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=longest_s, check=False)
    except subprocess.TimeoutExpired:
        return Finding(
            check, "warning", f"did not compile within {longest_s:.0f} s", "clear TORCHINDUCTOR_CACHE_DIR"
        )
    if done.returncode != 0:
        return Finding(
            check, "warning", f"does not compile: {_last_line(done.stderr)}", f"see docs/gpu.md; {_SLOWER}"
        )
    told = json.loads(done.stdout.splitlines()[-1])
    if not told["off"] <= LARGEST_DIFFERENCE:
        return Finding(
            check, "broken", f"is wrong by {told['off']:.2g}", "install another torch, or use --engine padded"
        )
    return Finding(
        check, "ok", f"compiled and right, tiles of {told['tile']}, {told['seconds']:.0f} s (the first time)"
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"
