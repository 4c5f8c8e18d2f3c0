"""Read the tensors of a `pytorch_model.bin` without executing its pickle.

`torch.load(weights_only=True)` builds tensors and plain containers, and refuses everything else.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

from milepost.errors import CheckpointError
from milepost.sources.digests import check_read, sha256_now
from milepost.sources.regular_files import open_regular
from milepost.text.messages import first_line, shown

_MAX_PICKLE_BYTES = 1 << 26
"""Limit for names and shapes, which take about 20 MB for 100,000 tensors."""
_FOREIGN_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def read_bin(path: Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """Read all tensors of a torch pickle, on the CPU.

    Args:
        sha256: the expected hash, checked just before loading; None: no check.

    Raises:
        CheckpointError: the file is damaged, has anything else than tensors, or another hash.
    """
    name = shown(path)
    if sha256 is not None:
        check_read(path, sha256_now(path), sha256)
    try:
        with open_regular(path) as file:
            _check_archive(name, file)
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{name} {_refused(error)}, and was not loaded",
            "save the checkpoint with safe_serialization=True (safetensors)",
        ) from error
    except Exception as error:  # the unpickler raises almost anything on bytes that are not a pickle
        raise CheckpointError(f"{name} cannot be read: {first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{name} has no tensors by name")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{name} has something other than a tensor: {shown(key)}")
        if value.layout is not torch.strided or value.device.type != "cpu":
            raise CheckpointError(f"{name} has a tensor of a kind that cannot be read: {shown(key)}")
        if value.nbytes > value.untyped_storage().nbytes():
            raise CheckpointError(
                f"{name}: {shown(key)} has {value.numel()} elements, more than the file has",
                "save the tensor in full (`.contiguous()`)",
            )
    return dict(loaded)


def _check_archive(name: str, file: BinaryIO) -> None:
    """Refuse a zip archive that would take more memory than it has bytes; leave the file at its beginning.

    torch stores its records without compression. Compressed ones are from other programs and may expand a
    thousandfold; so may a pickle that is most of the file.
    """
    if zipfile.is_zipfile(file):
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise CheckpointError(
                f"{name} is compressed, which torch's own files are not", "save it again with torch.save"
            )
        if any(r.file_size > _MAX_PICKLE_BYTES for r in records if r.filename.endswith("data.pkl")):
            raise CheckpointError(f"{name} has a pickle of more than {_MAX_PICKLE_BYTES} bytes")
    file.seek(0)


def _refused(error: pickle.UnpicklingError) -> str:
    """Return what torch refused; it names the function that the pickle would have called."""
    called = _FOREIGN_GLOBAL.search(str(error))
    return f"asks to run code ({shown(called[1])})" if called else "asks to run code or is damaged"
