"""Prune a checkpoint 2:4: of every four neighbouring weights of a linear layer, keep the two largest.

The simplest pruning there is, by magnitude and without training afterwards, so that it does cost something.
Importing it imports torch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

KEPT, OF = 2, 4
WEIGHTS = "model.safetensors"


def prune_copy(checkpoint: Path, folder: Path) -> None:
    """Copy a checkpoint and prune the linear layers of its blocks; `folder` is there whole or not at all."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    if unfinished.exists():  # of a run that was interrupted
        shutil.rmtree(unfinished)
    shutil.copytree(checkpoint, unfinished)
    tensors = {
        name: largest_of_each_group(tensor) if name.endswith("_proj.weight") else tensor
        for name, tensor in load_file(unfinished / WEIGHTS).items()
    }
    save_file(tensors, unfinished / WEIGHTS, metadata={"format": "pt"})
    unfinished.rename(folder)


def largest_of_each_group(weight: torch.Tensor) -> torch.Tensor:
    """[rows, columns] with all but `KEPT` of every `OF` neighbours in a row set to zero.

    The number of columns is a multiple of `OF`.
    """
    groups = weight.reshape(-1, OF)
    smallest = groups.abs().argsort(dim=1, stable=True)[:, : OF - KEPT]
    return groups.scatter(1, smallest, 0).reshape(weight.shape)
