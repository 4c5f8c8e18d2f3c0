"""Queries, keys and values as Megatron keeps them, taken apart.

Rows lie per query group: all query heads of the group, its key head, its value head
(megatron/core/transformer/attention.py, get_query_key_value_tensors).
"""

from __future__ import annotations

import torch

from milepost.weights.megatron.args import MegatronArgs


def split_qkv(tensor: torch.Tensor, args: MegatronArgs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries [heads * head_dim, ...], keys and values [groups * head_dim, ...].

    Args:
        tensor: weight [(heads + 2 * groups) * head_dim, hidden] or bias, of the whole model.
    """
    share = args.heads // args.groups
    rest = tensor.shape[1:]
    grouped = tensor.reshape(args.groups, share + 2, args.head_dim, *rest)
    queries = grouped[:, :share].reshape(args.heads * args.head_dim, *rest)
    keys = grouped[:, share].reshape(args.groups * args.head_dim, *rest)
    values = grouped[:, share + 1].reshape(args.groups * args.head_dim, *rest)
    return queries, keys, values


def interleaved(tensor: torch.Tensor, args: MegatronArgs) -> torch.Tensor:
    """Rows of queries or keys for a model that rotates neighbouring dimensions of a head.

    Megatron rotates dimension i together with i + rotary_dim / 2. Reordering the dimensions of queries and
    keys alike leaves their products as they are.
    """
    half = args.rotary_dim // 2
    heads = tensor.reshape(-1, args.head_dim, *tensor.shape[1:])
    order = [dimension for pair in zip(range(half), range(half, 2 * half), strict=True) for dimension in pair]
    order += range(args.rotary_dim, args.head_dim)
    return heads[:, order].reshape(tensor.shape)
