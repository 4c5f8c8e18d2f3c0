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
from milepost.text.language import Phrase

COMPILERS = ("gcc", "clang")
"""Compilers in Triton's order, after $CC (triton/runtime/build.py)."""
TRIAL_S = 180.0
LARGEST_DIFFERENCE = 0.05
"""Between two ways of computing attention in half precision; a wrong mask differs by far more."""
_SLOWER = Phrase("until then runs use a slower attention")


def check_gpu() -> Iterator[Finding]:
    """Check everything that is needed to compile, and each GPU by a trial; without a GPU, return one line."""
    try:
        import torch
    except (ImportError, OSError):
        return  # check_torch has told
    if not torch.cuda.is_available():
        has_mps = torch.backends.mps.is_available()
        kind = Phrase("mps, for which nothing is compiled") if has_mps else Phrase("the CPU")
        yield Finding(
            "gpu", "ok", Phrase("no CUDA GPU that torch can use; runs compute on {kind}", kind=kind)
        )
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
            Phrase("pip install triton (Linux), or triton-windows; {then}", then=_SLOWER),
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
        told = (
            Phrase("CC={name} is not a command", name=named)
            if named
            else Phrase("none of {names} is there", names=", ".join(COMPILERS))
        )
        return Finding(
            "C compiler",
            "warning",
            told,
            Phrase("apt install gcc (as root), or set CC; {then}", then=_SLOWER),
        )
    return Finding("C compiler", "ok", found)


def check_headers() -> Finding:
    """Check for Python.h, which Triton's launchers include."""
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.is_file():
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        return Finding(
            "Python.h",
            "warning",
            Phrase("{header} is not there", header=header),
            Phrase("apt install {package} (as root); {then}", package=package, then=_SLOWER),
        )
    return Finding("Python.h", "ok", str(header))


def try_attention(device: str, *, longest_s: float = TRIAL_S) -> Finding:
    """Compile a small attention for a device and compare it with plain attention, in a process of its own."""
    check = Phrase("attention on {device}", device=device)
    command = [sys.executable, "-m", "milepost.doctor.attention_trial", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=longest_s, check=False)
    except subprocess.TimeoutExpired:
        return Finding(
            check,
            "warning",
            Phrase("did not compile within {seconds:.0f} s", seconds=longest_s),
            "clear TORCHINDUCTOR_CACHE_DIR",
        )
    if done.returncode != 0:
        return Finding(
            check,
            "warning",
            Phrase("does not compile: {line}", line=_last_line(done.stderr)),
            Phrase("see docs/gpu.md; {then}", then=_SLOWER),
        )
    told = json.loads(done.stdout.splitlines()[-1])
    if not told["off"] <= LARGEST_DIFFERENCE:
        return Finding(
            check,
            "broken",
            Phrase("is wrong by {off:.2g}", off=told["off"]),
            "install another torch, or use --engine padded",
        )
    return Finding(
        check,
        "ok",
        Phrase(
            "compiled and right, tiles of {tile}, {seconds:.0f} s (the first time)",
            tile=told["tile"],
            seconds=told["seconds"],
        ),
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else Phrase("no reason given")
