"""Megatron-LM: `mp_rank_TT[_PPP]/model_optim_rng.pt` (legacy), or DCP with a `common.pt` (torch_dist)."""

from __future__ import annotations

from pathlib import Path

from milepost.sources.dcp_metadata import METADATA, PIECES
from milepost.sources.formats.format import Contents, Format, Layout


def _recognise_legacy(contents: Contents) -> Layout | None:
    if any(name.startswith("mp_rank_") for name in contents.folders):
        return Layout("megatron", problem="Megatron-LM checkpoints cannot be read yet")
    return None


def _recognise_torch_dist(contents: Contents) -> Layout | None:
    files = contents.files
    if "common.pt" in files and any(name == METADATA or name.endswith(PIECES) for name in files):
        pieces = sum(size for name, size in files.items() if name.endswith(PIECES))
        return Layout("torch_dist", (), pieces, "Megatron-LM torch_dist checkpoints cannot be read yet")
    return None


def _check(folder: Path, layout: Layout) -> str | None:
    return None


MEGATRON = Format(
    name="megatron", recognise=_recognise_legacy, downloads=("mp_rank_*/model_optim_rng.pt",), check=_check
)
TORCH_DIST = Format(
    name="torch_dist",
    recognise=_recognise_torch_dist,
    downloads=(METADATA, f"*{PIECES}", "common.pt"),
    check=_check,
)
