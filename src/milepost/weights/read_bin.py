"""The tensors of one `pytorch_model.bin`, without running the code that a pickle can hold.

`torch.load(weights_only=True)` builds tensors and plain containers, and refuses everything else.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch

from milepost.errors import CheckpointError
from milepost.sources.digests import check_read, sha256_now
from milepost.sources.names import first_line, shown

_FOREIGN_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def read_bin(path: Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """All tensors of a torch pickle, on the CPU.

    Args:
        sha256: what the file must hash to, just before it is loaded; None leaves it unchecked.

    Raises:
        CheckpointError: the file is damaged, asks for anything else than tensors, or its hash is another.
    """
    name = shown(str(path))
    if sha256 is not None:
        check_read(path, sha256_now(path), sha256)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{name} {_refused(error)}, and was not loaded",
            "save the checkpoint with safe_serialization=True (safetensors)",
        ) from error
    except Exception as error:  # bytes that are no pickle make the unpickler raise almost anything
        raise CheckpointError(f"{name} cannot be read: {first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{name} holds no tensors by name")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{name} holds something else than a tensor: {shown(str(key))}")
        if value.layout is not torch.strided or value.device.type != "cpu":
            raise CheckpointError(f"{name} holds a tensor of a kind that cannot be read: {shown(key)}")
    return dict(loaded)


def _refused(error: pickle.UnpicklingError) -> str:
    """What torch stumbled over; it names the function that the pickle would have called."""
    called = _FOREIGN_GLOBAL.search(str(error))
    return f"asks to run code ({shown(called[1])})" if called else "asks to run code or is damaged"
