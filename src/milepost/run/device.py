"""Choose the device that a run computes on."""

from __future__ import annotations

from milepost.errors import MilepostError
from milepost.text.language import Phrase


def resolve_device(device: str) -> str:
    """Return the device; `auto` becomes the first of cuda, mps, cpu that exists.

    Raises:
        MilepostError: the device does not exist here.
    """
    if device == "cpu":
        return device
    import torch

    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [f"cuda:{number}" for number in range(n_gpus)]
    devices = ["cpu", *(["mps"] if has_mps else []), *(["cuda"] if gpus else []), *gpus]
    if device in devices:
        return device
    raise MilepostError(
        Phrase("there is no device {device!r} here", device=device),
        Phrase("there are: {names}", names=", ".join(["auto", *devices])),
    )
