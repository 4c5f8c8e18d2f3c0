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
    """The number that each chunk's first layer has in the whole model.

    Args:
        held: how many layers each chunk was found to hold.

    Raises:
        CheckpointError: that is not how the args deal the layers out.
    """
    promised = _dealt_out(args)
    first: dict[Chunk, int] = {}
    position = 0
    for chunk in chunk_order(args):
        first[chunk] = position
        position += held[chunk]
        if promised is not None and held[chunk] != promised[chunk]:
            turn, stage = chunk
            where = f"pipeline stage {stage}" + (f", part {turn}" if args.n_virtual else "")
            raise CheckpointError(f"{where} holds {held[chunk]} layers, its args give it {promised[chunk]}")
    if position != args.layers:
        raise CheckpointError(
            f"the pipeline stages hold {position} layers, their args speak of {args.layers}"
        )
    return first


def _dealt_out(args: MegatronArgs) -> dict[Chunk, int] | None:
    """Layers per chunk as the args have it; None where the split was made by hand and is taken as found."""
    if args.own_split:
        return None
    if args.first_stage is not None or args.last_stage is not None:
        return _uneven(args)
    rounds = args.n_virtual or 1
    counted = args.layers + args.embedding_counts + args.loss_counts
    share = counted // (args.n_pipeline * rounds)
    dealt = dict.fromkeys(chunk_order(args), share)
    if args.embedding_counts:
        dealt[0, 0] -= 1
    if args.loss_counts:
        dealt[rounds - 1, args.n_pipeline - 1] -= 1
    return dealt


def _uneven(args: MegatronArgs) -> dict[Chunk, int]:
    rounds = args.n_virtual or 1
    given = {0: args.first_stage, args.n_pipeline - 1: args.last_stage}
    set_apart = {stage: layers for stage, layers in given.items() if layers is not None}
    between = args.n_pipeline - len(set_apart)
    rest = args.layers - sum(set_apart.values())
    share = rest // between if between else 0
    return {(turn, stage): set_apart.get(stage, share) // rounds for turn, stage in chunk_order(args)}
