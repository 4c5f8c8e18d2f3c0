"""The device that a run computes on."""

from __future__ import annotations

from milepost.errors import MilepostError


def resolve_device(device: str) -> str:
    """`auto` becomes the first of cuda, mps, cpu that is there.

    Raises:
        MilepostError: the device asked for is not there.
    """
    if device == "cpu":
        return device
    import torch

    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, number = device.partition(":")
    if kind == "cuda" and torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count():
        return device
    if device == "mps" and has_mps:
        return device
    there = ["cpu", *(["mps"] if has_mps else []), *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    raise MilepostError(f"there is no device {device!r} here", "auto, or one of " + ", ".join(there))
