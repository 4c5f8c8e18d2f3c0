"""Folders of Megatron-LM: files `mp_rank_TT[_PPP]/` (legacy), or DCP with `common.pt` (torch_dist).

Each rank writes its own file, and no file marks the end; the args in each give the number of ranks. A folder
with all of these files, undamaged, is a complete checkpoint, whatever the tracker beside it says.
"""

from __future__ import annotations

from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.formats.dcp.layout import PIECES, check_pieces, pieces_in
from milepost.sources.formats.dcp.metadata import METADATA
from milepost.sources.formats.format import Contents, Format, Layout, complete
from milepost.sources.formats.megatron.metadata import (
    COMMON,
    RANK_FILE,
    has_experts,
    missing_ranks,
    rank_files,
    ranks_among,
    read_common_file,
    read_rank_file,
)
from milepost.sources.integrity import check_zip, first_refusal

_LEGACY = "megatron"
_TORCH_DIST = "megatron-dist"
MEGATRON_FORMATS = frozenset({_LEGACY, _TORCH_DIST})


def _recognise_legacy(contents: Contents) -> Layout | None:
    if has_experts(contents.folders):
        return Layout(_LEGACY, problem="it has expert-parallel ranks, which cannot be read")
    ranks = ranks_among(contents.folders)
    if not ranks:
        return None
    files = {
        f"{folder}/{name}": size
        for folder in ranks.values()
        for name, size in contents.inside(folder).items()
    }
    n_tensor, n_pipeline = (max(rank[i] for rank in ranks) + 1 for i in (0, 1))
    try:
        expected = rank_files(n_tensor, n_pipeline)
    except CheckpointError as error:
        return Layout(_LEGACY, problem=error.message)
    staged = any("_" in folder.removeprefix("mp_rank_") for folder in ranks.values())
    if staged != (n_pipeline > 1):  # only one stage has been written so far
        expected = {rank: f"{folder}/{RANK_FILE}" for rank, folder in ranks.items()}
    return complete(files, _LEGACY, tuple(sorted(expected.values())))


def _check_legacy(folder: Path, layout: Layout) -> str | None:
    """Check the files, and their number against the first rank's args; `legacy` compares all ranks."""
    return first_refusal(folder, layout.weight_files, check_zip) or first_refusal(
        folder, layout.weight_files[:1], lambda path: _check_ranks(path, layout)
    )


def _check_ranks(first: Path, layout: Layout) -> None:
    problem = missing_ranks(read_rank_file(first).settings, layout.weight_files)
    if problem is not None:
        raise CheckpointError(problem)


def _recognise_torch_dist(contents: Contents) -> Layout | None:
    files = contents.files
    if COMMON not in files or not any(name == METADATA or name.endswith(PIECES) for name in files):
        return None
    layout = pieces_in(contents, _TORCH_DIST)
    problem = layout.problem or (f"{COMMON} is empty" if files[COMMON] == 0 else None)
    size = (layout.size_bytes or 0) + files[COMMON]
    return Layout(_TORCH_DIST, (COMMON, *layout.weight_files), size, problem)


def _check_torch_dist(folder: Path, layout: Layout) -> str | None:
    return first_refusal(folder, [COMMON], read_common_file) or check_pieces(folder, layout)


MEGATRON = Format(
    name=_LEGACY,
    folder="megatron",
    recognise=_recognise_legacy,
    check=_check_legacy,
    needs_config=False,
    describing=(f"mp_rank_00/{RANK_FILE}", f"mp_rank_00_000/{RANK_FILE}"),
)
TORCH_DIST = Format(
    name=_TORCH_DIST,
    folder="megatron",
    recognise=_recognise_torch_dist,
    check=_check_torch_dist,
    needs_config=False,
    describing=(COMMON, METADATA),
)
