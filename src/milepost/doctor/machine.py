"""Check Python, the libraries and the device."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from milepost.cores import usable_cores
from milepost.doctor.finding import Finding
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase
from milepost.text.messages import first_line

_OLDEST_PYTHON = (3, 10)
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_LITTLE_MEMORY = 2e9


def check_python() -> Finding:
    """Version and place of the interpreter."""
    told = Phrase("{version} at {path}", version=platform.python_version(), path=sys.executable)
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("python", "broken", told, "install Python 3.10 or newer")
    return Finding("python", "ok", told)


def check_torch() -> Finding:
    """Check that torch can be imported, and report its build."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of CUDA is missing
        return Finding(
            "torch",
            "broken",
            Phrase("cannot be imported: {error}", error=error),
            "pip install --force-reinstall torch",
        )
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else Phrase("CPU only")
    if torch.version.cuda is None and _NVIDIA_DRIVER.exists():
        return Finding(
            "torch",
            "warning",
            Phrase(
                "{version}, {built}, though there is an NVIDIA GPU", version=torch.__version__, built=built
            ),
            "install a torch built for CUDA (https://pytorch.org/get-started)",
        )
    return Finding("torch", "ok", Phrase("{version}, {built}", version=torch.__version__, built=built))


def check_device() -> Iterator[Finding]:
    """Report the device of `--device auto` with its memory; for CUDA every GPU."""
    try:
        import torch
    except (ImportError, OSError):
        return  # check_torch has told
    if torch.cuda.is_available():
        yield from (_gpu(number) for number in range(torch.cuda.device_count()))
    elif torch.version.cuda is not None and _NVIDIA_DRIVER.exists():
        yield Finding(
            "device",
            "broken",
            "there is an NVIDIA GPU that torch cannot use",
            "compare the driver (nvidia-smi) with torch's CUDA; look at CUDA_VISIBLE_DEVICES",
        )
    else:
        kind = "mps" if torch.backends.mps.is_available() else "cpu"
        total, free = _memory()
        told = Phrase(
            "{kind}, {n} cores, {total} of memory, {free} free",
            kind=kind,
            n=usable_cores(),
            total=format_bytes(total),
            free=format_bytes(free),
        )
        scarce = free < _LITTLE_MEMORY
        advice = Phrase("end other programs; a model needs at least twice the size of its weights")
        yield Finding("device", "warning" if scarce else "ok", told, advice if scarce else None)


def check_lm_eval() -> Finding:
    """Check that the installed lm_eval is the version that our results are compared with."""
    wanted = _pinned("lm_eval")
    try:
        found = metadata.version("lm_eval")
    except metadata.PackageNotFoundError:
        return Finding(
            "lm_eval", "broken", "is not installed", Phrase("pip install lm_eval=={wanted}", wanted=wanted)
        )
    if wanted is not None and found != wanted:
        return Finding(
            "lm_eval",
            "warning",
            Phrase("{found}; numbers are tested against {wanted}", found=found, wanted=wanted),
            Phrase("pip install lm_eval=={wanted}", wanted=wanted),
        )
    return Finding("lm_eval", "ok", found)


def _gpu(number: int) -> Finding:
    import torch

    try:
        free, total = torch.cuda.mem_get_info(number)
        properties = torch.cuda.get_device_properties(number)
    except RuntimeError as error:
        return Finding(
            "device",
            "broken",
            Phrase(
                "cuda:{number} does not answer: {reason}",
                number=number,
                reason=first_line(error),
            ),
            "nvidia-smi",
        )
    capability = f"{properties.major}.{properties.minor}"
    shared = getattr(properties, "shared_memory_per_block_optin", None)
    told = f"cuda:{number}, {properties.name}, compute capability {capability}"
    told += "" if shared is None else f", {format_bytes(shared)} of shared memory a block"
    told += f", {format_bytes(total)} of memory, {format_bytes(free)} free"
    if properties.major < 8:
        told += "; without bfloat16"
    if free < total / 2:
        return Finding("device", "warning", told, "another program uses it (nvidia-smi)")
    return Finding("device", "ok", told)


def _memory() -> tuple[int, int]:
    """Total and available memory in bytes, by Linux' account where there is one."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text("ascii"))
        if found:
            return total, int(found[1]) * 1024
    return total, total


def _pinned(name: str) -> str | None:
    """Return the version that this package requires."""
    for requirement in metadata.requires("milepost") or ():
        if found := re.fullmatch(rf"{name}==([\w.]+)", requirement.replace(" ", "").replace("-", "_")):
            return found[1]
    return None
