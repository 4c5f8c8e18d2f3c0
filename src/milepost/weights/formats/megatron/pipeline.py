"""Assign layers to pipeline stages; files of a stage count its layers from 0.

Stages are in order, virtual ones first by round: with two stages and two rounds the layers go to (round 0,
stage 0), (round 0, stage 1), (round 1, stage 0), (round 1, stage 1). Source: get_num_layers_to_build
(megatron/core/transformer/transformer_block.py), get_transformer_layer_offset (transformer_layer.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from milepost.errors import CheckpointError
from milepost.weights.formats.megatron.args import MegatronArgs

Chunk = tuple[int, int]
"""Round of the virtual pipeline (0 without one) and pipeline stage."""


def chunk_order(args: MegatronArgs) -> list[Chunk]:
    """Return all chunks in the order of their layers."""
    return [(turn, stage) for turn in range(args.n_virtual or 1) for stage in range(args.n_pipeline)]


def first_layers(args: MegatronArgs, held: Mapping[Chunk, int]) -> dict[Chunk, int]:
    """Return the number of each chunk's first layer in the whole model.

    Args:
        held: number of layers in each chunk.

    Raises:
        CheckpointError: the args distribute the layers in another way.
    """
    promised = _layers_by_args(args)
    first: dict[Chunk, int] = {}
    position = 0
    for chunk in chunk_order(args):
        first[chunk] = position
        position += held[chunk]
        if promised is not None and held[chunk] != promised[chunk]:
            turn, stage = chunk
            where = f"pipeline stage {stage}" + (f", part {turn}" if args.n_virtual else "")
            raise CheckpointError(f"{where} has {held[chunk]} layers, its args give it {promised[chunk]}")
    if position != args.layers:
        raise CheckpointError(f"the pipeline stages have {position} layers, their args give {args.layers}")
    return first


def _layers_by_args(args: MegatronArgs) -> dict[Chunk, int] | None:
    """Return the layers per chunk by the args; None if the split was made by hand."""
    if args.own_split:
        return None
    if args.first_stage is not None or args.last_stage is not None:
        return _uneven(args)
    rounds = args.n_virtual or 1
    counted = args.layers + args.embedding_counts + args.loss_counts
    share = counted // (args.n_pipeline * rounds)
    layers = dict.fromkeys(chunk_order(args), share)
    if args.embedding_counts:
        layers[0, 0] -= 1
    if args.loss_counts:
        layers[rounds - 1, args.n_pipeline - 1] -= 1
    return layers


def _uneven(args: MegatronArgs) -> dict[Chunk, int]:
    rounds = args.n_virtual or 1
    layers_of = {0: args.first_stage, args.n_pipeline - 1: args.last_stage}
    separate = {stage: layers for stage, layers in layers_of.items() if layers is not None}
    between = args.n_pipeline - len(separate)
    rest = args.layers - sum(separate.values())
    share = rest // between if between else 0
    return {(turn, stage): separate.get(stage, share) // rounds for turn, stage in chunk_order(args)}
