"""torch.distributed checkpoints (DCP): `.metadata` and a `__R_T.distcp` of each rank and thread.

`.metadata` is written last. transformers' Trainer puts them in a sub-folder of its own `checkpoint-N`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.formats.format import Contents, Format, Layout, complete
from milepost.sources.names import shown

METADATA = ".metadata"
PIECES = ".distcp"
"""End of the name of the files that hold the tensors."""
_MEGATRON = "common.pt"
_TITAN_TENSOR = b"tok_embeddings.weight"
"""The input embedding, as torchtitan calls it and transformers does not."""
_MAX_BYTES = 1 << 28
"""Of `.metadata`; that of a model with 100,000 tensors has some 50 MB."""
_TRAINER = "trainer_state.json"
_TRAINER_FOLDER = "pytorch_model_fsdp_0"
"""Where accelerate puts the model of an FSDP run with sharded state dicts."""


def dcp_folder(folder: Path) -> Path:
    """The folder with `.metadata`: the checkpoint's own, or the one that accelerate made in it."""
    inner = folder / _TRAINER_FOLDER
    return inner if not (folder / METADATA).exists() and inner.is_dir() else folder


def pieces_in(contents: Contents, format: str, within: str = "") -> Layout:
    """The layout of a folder (or its sub-folder `within`) with DCP files in it."""
    files = contents.inside(within) if within else contents.files
    prefix = f"{within}/" if within else ""
    pieces = sorted(name for name in files if name.endswith(PIECES))
    paths = {prefix + name: size for name, size in files.items()}
    layout = complete(paths, format, tuple(prefix + name for name in (METADATA, *pieces)))
    if METADATA not in files:  # it is written when all ranks are done
        return Layout(
            format, layout.weight_files, layout.size_bytes, f"{METADATA} is missing, or not yet written"
        )
    if not pieces:
        return Layout(format, layout.weight_files, layout.size_bytes, f"there are no {PIECES} files")
    return layout


def check_pieces(folder: Path, layout: Layout) -> str | None:
    """What is wrong with the metadata, or with the files when compared with them."""
    from milepost.sources.formats.dcp.metadata import problem_with_files, read_dcp_metadata

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
    """As DCP, and with torchtitan's names in it."""
    if _MEGATRON in contents.files or METADATA not in contents.files:
        return None
    return pieces_in(contents, "torchtitan") if _TITAN_TENSOR in contents.read(METADATA, _MAX_BYTES) else None


def _has_pieces(files: Iterable[str]) -> bool:
    return any(name == METADATA or name.endswith(PIECES) for name in files)


DCP = Format(name="dcp", recognise=_recognise_dcp, check=check_pieces)
TORCHTITAN = Format(name="torchtitan", recognise=_recognise_torchtitan, check=check_pieces)
