"""Reorder queries, keys and values from Megatron's order to the usual one.

In the files, rows are in order of query groups: all query heads of the group, its key head, its value head
(megatron/core/transformer/attention.py, get_query_key_value_tensors).
"""

from __future__ import annotations

import torch

from milepost.weights.formats.megatron.args import MegatronArgs
from milepost.weights.formats.megatron.tensor_specs import Slot


def rows_of_rank(whole: torch.Tensor, slot: Slot, args: MegatronArgs, rank: int) -> list[torch.Tensor]:
    """Return the rows of a tensor that one tensor-parallel rank's file has, in the file's order.

    Args:
        whole: a tensor whose rows are split over ranks; the result has views of it.
    """
    if slot.grouped:
        queries, keys, values = split_qkv(whole, args)
        share = args.groups // args.n_tensor
        stretches = []
        for group in range(rank * share, (rank + 1) * share):
            stretches += [part.chunk(args.groups)[group] for part in (queries, keys, values)]
        return stretches
    halves = whole.chunk(slot.halves)
    return [half.chunk(args.n_tensor)[rank] for half in halves]


def in_order(tensor: torch.Tensor, args: MegatronArgs) -> torch.Tensor:
    """Reorder rows that are stored group by group to all queries, all keys, all values.

    Args:
        tensor: weight [(heads + 2 * groups) * head_dim, hidden] or bias, of the whole model.
    """
    ordered = torch.empty_like(tensor)
    share = args.heads // args.groups * args.head_dim
    grouped = tensor.reshape(args.groups, share + 2 * args.head_dim, *tensor.shape[1:])
    parts = grouped.split([share, args.head_dim, args.head_dim], dim=1)
    for target, part in zip(split_qkv(ordered, args), parts, strict=True):
        target.view(part.shape).copy_(part)
    return ordered


def split_qkv(tensor: torch.Tensor, args: MegatronArgs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return views of queries [heads * head_dim, ...], keys and values [groups * head_dim, ...]."""
    sizes = [args.heads * args.head_dim, args.groups * args.head_dim, args.groups * args.head_dim]
    queries, keys, values = tensor.split(sizes)
    return queries, keys, values


def interleaved(tensor: torch.Tensor, args: MegatronArgs) -> torch.Tensor:
    """Reorder queries or keys for a model that rotates neighbouring dimensions of a head.

    Megatron rotates dimension i together with i + rotary_dim / 2. The products of queries and keys stay the
    same if the dimensions of both are reordered.
    """
    half = args.rotary_dim // 2
    heads = tensor.reshape(-1, args.head_dim, *tensor.shape[1:])
    order = [dimension for pair in zip(range(half), range(half, 2 * half), strict=True) for dimension in pair]
    order += range(args.rotary_dim, args.head_dim)
    return heads[:, order].reshape(tensor.shape)
