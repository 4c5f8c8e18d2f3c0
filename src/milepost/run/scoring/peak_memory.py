"""Ask how much memory this process has needed at most."""

from __future__ import annotations

import sys

PEAK = "peak_memory"
PEAK_OF_GPU = "peak_gpu_memory"


def peak_memory(device: str | None) -> dict[str, int]:
    """Return the fields of a checkpoint's record: bytes of main memory, and of the GPU that was used."""
    found = {}
    if sys.platform != "win32":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found[PEAK] = peak if sys.platform == "darwin" else peak * 1024
    if device is not None and device.startswith("cuda"):
        import torch

        found[PEAK_OF_GPU] = torch.cuda.max_memory_allocated(device)
    return found
