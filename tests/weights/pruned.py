"""Pruning real models, for the tests of what pruning cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def magnitude(weight: torch.Tensor, share: float) -> torch.Tensor:
    """The smallest weights of a matrix set to zero, exactly that share of them."""
    smallest = weight.abs().flatten().argsort(stable=True)[: round(share * weight.numel())]
    pruned = weight.flatten().clone()
    pruned[smallest] = 0
    return pruned.reshape(weight.shape)


def n_of_m(weight: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Keep the n largest of every m neighbours in a row."""
    groups = weight.reshape(-1, m)
    smallest = groups.abs().argsort(dim=1, stable=True)[:, : m - n]
    return groups.scatter(1, smallest, 0).reshape(weight.shape)


def blocks(weight: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Half of the blocks set to zero, those with the smallest norm; the edge may cut a block."""
    height, width = -(-weight.shape[0] // rows), -(-weight.shape[1] // columns)
    padded = torch.zeros(height * rows, width * columns, dtype=weight.dtype)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    parts = padded.reshape(height, rows, width, columns)
    norms = parts.float().square().sum(dim=(1, 3)).flatten()
    gone = torch.zeros(height * width, dtype=torch.bool)
    gone[norms.argsort(stable=True)[: height * width // 2]] = True
    kept = parts * ~gone.reshape(height, 1, width, 1)
    return kept.reshape(padded.shape)[: weight.shape[0], : weight.shape[1]].contiguous()


def prune(model: Path, folder: Path, how: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """A copy of a model folder with the linear layers of its blocks pruned."""
    shutil.copytree(model, folder)
    weights = folder / "model.safetensors"
    tensors = {
        name: how(tensor) if name.endswith("_proj.weight") else tensor
        for name, tensor in load_file(weights).items()
    }
    weights.unlink()  # it may be a link into a cache
    save_file(tensors, weights, metadata={"format": "pt"})
    return folder
