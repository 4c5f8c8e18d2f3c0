"""Measure a checkpoint's sparsity: exact zeros per linear layer, and their pattern.

Counts the values in the files, in the files' dtype, without a module. Linear layers are the matrices inside
the blocks. Embeddings and the output head are not part of the total, as pruning methods leave them unchanged
(SparseGPT, arXiv 2301.00774; Wanda, arXiv 2306.11695); the head is counted separately.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from milepost.types.sparsity import LayerSparsity, Sparsity
from milepost.weights.checkpoint_weights import CheckpointWeights

DENSE_BELOW = 0.005
"""Share of zeros that training alone can leave, mostly in bf16."""

_ALL_BUT = 0.99
"""Share of the zeros that must be in a pattern; a few weights are zero by chance."""

_GROUPS = (2, 4, 8, 16)
"""M of the N:M patterns; sparse tensor cores have 1:2 and 2:4, papers go up to 8:16."""

_SLACK = 0.01
"""Share of additional zeros that an N:M layer may have."""

_BLOCK = re.compile(r"(\d+)x(\d+) blocks")
_HEAD = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output_layer|output)\.weight$")
_NO_LAYER = re.compile(
    r"emb|(?:^|\.)w[tp]e\.|norm|position|rotary|relative_attention|conv1d\.weight|router_bias"
)


def measure_sparsity(weights: CheckpointWeights, bytes_on_disk: int) -> Sparsity:
    """Count the zeros of a checkpoint in memory; about a second per billion weights.

    Args:
        bytes_on_disk: size of the weight files, for the result.
    """
    matrices = {name: tensor for name, tensor in weights.tensors.items() if _is_matrix(tensor)}
    vocabulary = getattr(weights.config.get_text_config(), "vocab_size", None)
    layers, head = [], None
    for name, tensor in matrices.items():
        if _HEAD.search(name):
            head = _layer(name, tensor)
        elif not _NO_LAYER.search(name) and vocabulary not in tensor.shape:
            layers.append(_layer(name, tensor))
    usual = _usual_block(layers)
    distinct = dict(_distinct(weights.tensors))
    return Sparsity(
        layers=tuple(_renamed(layer, matrices[layer.name], usual) for layer in layers),
        head=head,
        n_parameters=sum(tensor.numel() for tensor in distinct.values()),
        n_zeros=sum(_zeros(tensor) for tensor in distinct.values() if tensor.is_floating_point()),
        bytes_on_disk=bytes_on_disk,
    )


def _is_matrix(tensor: torch.Tensor) -> bool:
    """Return True for a matrix or a stack of them (the experts of a layer in one tensor)."""
    return tensor.is_floating_point() and tensor.ndim in (2, 3) and min(tensor.shape[-2:]) > 1


def _distinct(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each tensor once, also if a file names the same memory twice (tied weights in a torch pickle)."""
    seen: set[tuple[int, torch.Size]] = set()
    for name, tensor in tensors.items():
        place = tensor.data_ptr(), tensor.shape
        if place not in seen:
            seen.add(place)
            yield name, tensor


def _layer(name: str, tensor: torch.Tensor) -> LayerSparsity:
    zero = _flat_zeros(tensor)
    zeros = int(zero.sum())
    return LayerSparsity(name=name, shape=tuple(tensor.shape), zeros=zeros, pattern=zero_pattern(zero, zeros))


def _flat_zeros(tensor: torch.Tensor) -> torch.Tensor:
    """Return where a matrix, or a stack of them, is zero: [rows, columns] bool."""
    return (tensor == 0).reshape(-1, tensor.shape[-1])


def _zeros(tensor: torch.Tensor) -> int:
    return int((tensor == 0).sum())


def _usual_block(layers: Sequence[LayerSparsity]) -> tuple[int, int] | None:
    """Return rows and columns of the most frequent blocks."""
    sizes = Counter(
        (int(size[1]), int(size[2])) for layer in layers if (size := _BLOCK.fullmatch(layer.pattern))
    )
    return sizes.most_common(1)[0][0] if sizes else None


def _renamed(layer: LayerSparsity, tensor: torch.Tensor, usual: tuple[int, int] | None) -> LayerSparsity:
    """Give a layer the usual block size if its own blocks are larger: small blocks can lie side by side."""
    if usual is None or layer.pattern in ("dense", "all zero", "unstructured"):
        return layer
    found = _block(_flat_zeros(tensor), layer.zeros)
    if found[0] < usual[0] or found[1] < usual[1]:
        return layer
    return replace(layer, pattern=f"{usual[0]}x{usual[1]} blocks")


# ---- patterns ------------------------------------------------------------------------------------------


def zero_pattern(zero: torch.Tensor, zeros: int) -> str:
    """Return the name of the pattern of `zero` ([rows, columns] bool)."""
    if zeros < DENSE_BELOW * zero.numel():
        return "dense"
    if zeros == zero.numel():
        return "all zero"
    rows, columns = _block(zero, zeros)
    if rows > 1 and columns > 1:
        return _named_block(rows, columns, zero.shape)
    groups = _n_of_m(zero, zeros) or _n_of_m(zero.T, zeros)
    if groups is not None:
        return groups
    return _named_block(rows, columns, zero.shape) if rows * columns > 1 else "unstructured"


def _named_block(rows: int, columns: int, shape: torch.Size) -> str:
    if columns >= shape[1]:
        return "whole rows"
    if rows >= shape[0]:
        return "whole columns"
    return f"{rows}x{columns} blocks"


def _block(zero: torch.Tensor, zeros: int) -> tuple[int, int]:
    """Return rows and columns of the largest blocks (powers of two) that contain nearly all zeros.

    They are grown by doubling: if blocks of 16x16 contain the zeros, so do those of 1x2, which random zeros
    rule out at once. The edge of a matrix may cut a block.
    """
    weight = torch.ones(zero.shape, dtype=torch.int32)
    rows = columns = 1
    grown = True
    while grown:
        grown = False
        for axis in (0, 1):
            if zero.shape[axis] == 1:
                continue
            larger, its_weight = _paired_up(zero, weight, axis)
            if int(its_weight[larger].sum()) >= _ALL_BUT * zeros:
                zero, weight, grown = larger, its_weight, True
                rows, columns = (rows * 2, columns) if axis == 0 else (rows, columns * 2)
    return rows, columns


def _paired_up(zero: torch.Tensor, weight: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Join neighbours along an axis: zero if both are, with the sum of their weights."""
    zero, weight = (zero, weight) if axis == 1 else (zero.T, weight.T)
    if zero.shape[1] % 2:
        zero = torch.nn.functional.pad(zero, (0, 1), value=True)
        weight = torch.nn.functional.pad(weight, (0, 1), value=0)
    zero = zero[:, ::2] & zero[:, 1::2]
    weight = weight[:, ::2] + weight[:, 1::2]
    return (zero, weight) if axis == 1 else (zero.T, weight.T)


def _n_of_m(zero: torch.Tensor, zeros: int) -> str | None:
    """Return `N:M` if every M neighbours of a row have at least M - N zeros, and few zeros are left over."""
    share = zeros / zero.numel()
    for m in _GROUPS:
        if zero.shape[1] % m:
            continue
        fewest = int(zero.reshape(-1, m).sum(dim=1, dtype=torch.int32).min())
        if 0 < fewest < m and fewest / m >= share - _SLACK:
            return f"{m - fewest}:{m}"
    return None
