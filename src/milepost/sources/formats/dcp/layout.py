"""Folders of torch.distributed (DCP): `.metadata` and a file `__R_T.distcp` per rank and thread.

`.metadata` is written last. transformers' Trainer has these files in a sub-folder of `checkpoint-N`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.formats.dcp.metadata import METADATA, problem_with_files, read_dcp_metadata
from milepost.sources.formats.format import Contents, Format, Layout, complete
from milepost.text.messages import shown

PIECES = ".distcp"
"""Ending of the files with tensors."""
_MEGATRON = "common.pt"
_TITAN_TENSOR = b"tok_embeddings.weight"
"""torchtitan's name of the input embedding, which transformers does not use."""
_MAX_BYTES = 1 << 28
"""Limit for `.metadata`, which has about 50 MB for 100,000 tensors."""
_TRAINER = "trainer_state.json"
_TRAINER_FOLDER = "pytorch_model_fsdp_0"
"""Sub-folder in which accelerate saves the model of an FSDP run with sharded state dicts."""


def dcp_folder(folder: Path) -> Path:
    """Return the folder with `.metadata`: the checkpoint's, or the one that accelerate made in it."""
    inner = folder / _TRAINER_FOLDER
    return inner if not (folder / METADATA).exists() and inner.is_dir() else folder


def pieces_in(contents: Contents, format: str, within: str = "") -> Layout:
    """Return the layout of a folder (or its sub-folder `within`) with DCP files."""
    files = contents.inside(within) if within else contents.files
    prefix = f"{within}/" if within else ""
    pieces = sorted(name for name in files if name.endswith(PIECES))
    paths = {prefix + name: size for name, size in files.items()}
    layout = complete(paths, format, tuple(prefix + name for name in (METADATA, *pieces)))
    if METADATA not in files:  # written when all ranks are done
        return replace(layout, problem=f"{METADATA} is missing, or not yet written")
    return layout if pieces else replace(layout, problem=f"there are no {PIECES} files")


def check_pieces(folder: Path, layout: Layout) -> str | None:
    """Return the first problem of the metadata or of the files that they describe."""
    place = dcp_folder(folder)
    try:
        metadata = read_dcp_metadata(place)
        sizes = {name: (folder / name).stat().st_size for name in layout.weight_files}
    except CheckpointError as error:
        return error.message.replace(shown(f"{folder}/"), "")
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return problem_with_files(metadata, {name.rpartition("/")[2]: size for name, size in sizes.items()})


def _recognise_dcp(contents: Contents) -> Layout | None:
    if _has_pieces(contents.files):
        return None if _MEGATRON in contents.files else pieces_in(contents, "dcp")
    if _TRAINER in contents.files and _TRAINER_FOLDER in contents.folders:
        return pieces_in(contents, "dcp", _TRAINER_FOLDER)
    return None


def _recognise_torchtitan(contents: Contents) -> Layout | None:
    """Recognise DCP files with torchtitan's tensor names."""
    if _MEGATRON in contents.files or METADATA not in contents.files:
        return None
    return pieces_in(contents, "torchtitan") if _TITAN_TENSOR in contents.read(METADATA, _MAX_BYTES) else None


def _has_pieces(files: Iterable[str]) -> bool:
    return any(name == METADATA or name.endswith(PIECES) for name in files)


DCP = Format(name="dcp", folder="dcp", recognise=_recognise_dcp, check=check_pieces)
TORCHTITAN = Format(name="torchtitan", folder="dcp", recognise=_recognise_torchtitan, check=check_pieces)
