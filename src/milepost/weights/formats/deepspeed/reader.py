"""Read a DeepSpeed ZeRO checkpoint: the fp32 master weights, joined from the ranks' flat partitions.

ZeRO-1 and -2 concatenate the weights of a group and cut the result in one piece per rank; ZeRO-3 cuts each
weight. Source: DeepSpeed 0.19, utils/zero_to_fp32.py. Partitions are read directly into the memory of the
weights, and nothing else of the optimizer is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from milepost.errors import CheckpointError
from milepost.sources.formats.deepspeed.layout import deepspeed_folder
from milepost.sources.formats.deepspeed.metadata import (
    MODEL_STATES,
    OPTIM_STATES,
    ModelStates,
    OptimStates,
    missing_files,
    read_model_states,
    read_optim_states,
    states_among,
)
from milepost.text.messages import shown
from milepost.weights.reader import Reader, ReadRequest, ReadResult, check_tied
from milepost.weights.torch_tensors import OpenArchive, open_archive

_PRECISION = {torch.float32: 2.0**-22, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
"""Largest relative difference between a master weight and the module's copy, by rounding."""


def read_deepspeed(request: ReadRequest) -> ReadResult:
    """Read the fp32 master weights by the module's names; without ZeRO, the module's own weights.

    Raises:
        CheckpointError: a file is missing, damaged or asks to run code; the ranks are of different steps or
            do not have all weights; copies of a weight differ.
    """
    request.check_hashes()
    folder = deepspeed_folder(request.folder)
    names = [path.name for path in folder.iterdir()]
    models = [read_model_states(folder / name) for name in states_among(names, MODEL_STATES)]
    if not models:
        raise CheckpointError(f"{shown(folder)} has no file *{MODEL_STATES}")
    first = models[0]
    if problem := missing_files(first, names):
        raise CheckpointError(f"{shown(folder)}: {problem}")
    optims = [read_optim_states(folder / name) for name in states_among(names, OPTIM_STATES)]
    _check_ranks(folder, models, optims if first.stage else [])
    with ExitStack() as stack:
        of_model = [stack.enter_context(open_archive(model.path)) for model in models]
        of_optim = [stack.enter_context(open_archive(optim.path)) for optim in optims]
        if first.stage == 3:
            tensors = _join_pieces(folder, first, optims, of_optim)
            tensors |= _join_frozen(folder, models, of_model)
        elif first.stage:
            tensors = _join_groups(folder, first, optims, of_optim)
            _compare(first, of_model[0], tensors)
            tensors |= {name: _module(first, of_model[0], name) for name in first.frozen}
        else:
            tensors = {name: of_model[0].read(stored) for name, stored in first.module.items()}
        tensors |= {name: _module(first, of_model[0], name) for name in first.buffers}
    for name, other in first.shared.items():
        if other in tensors:
            tensors[name] = tensors[other]
    check_tied(folder, request.config, tensors)
    source = (optims[0] if first.stage else first).path.relative_to(request.folder)
    return ReadResult(tensors, dict.fromkeys(tensors, str(source)))


def _check_ranks(folder: Path, models: Sequence[ModelStates], optims: Sequence[OptimStates]) -> None:
    """Check that the files were written by the same ranks at the same step."""
    first = models[0]
    for model in models[1:]:
        if (model.step, model.n_ranks, model.stage) != (first.step, first.n_ranks, first.stage):
            raise CheckpointError(
                f"{shown(model.path)} is of step {model.step}, {shown(first.path.name)} of step {first.step}"
            )
        if model.groups != first.groups:
            raise CheckpointError(f"{shown(model.path)} has other weights than {shown(first.path.name)}")
    for rank in optims:
        if rank.n_ranks != first.n_ranks or rank.stage != first.stage:
            raise CheckpointError(
                f"{shown(rank.path)} was written by {rank.n_ranks} ranks with ZeRO-{rank.stage}, "
                f"{shown(first.path.name)} by {first.n_ranks} with ZeRO-{first.stage}"
            )
        if _sizes(rank) != _sizes(optims[0]):
            raise CheckpointError(
                f"{shown(rank.path)} has another share of the weights than {shown(optims[0].path.name)}"
            )
        if _steps(rank) != _steps(optims[0]):
            raise CheckpointError(f"{shown(rank.path)} is of another step than {shown(optims[0].path.name)}")


def _sizes(rank: OptimStates) -> list[int]:
    return [partition.n_items for partition in rank.partitions]


def _steps(rank: OptimStates) -> list[float]:
    with open_archive(rank.path) as archive:
        return [float(step if isinstance(step, int) else archive.read(step)) for step in rank.steps]


def _join_groups(
    folder: Path, model: ModelStates, optims: Sequence[OptimStates], archives: Sequence[OpenArchive]
) -> dict[str, torch.Tensor]:
    """Join the weights of ZeRO-1 and -2: the pieces of a group are concatenated, padded at the end."""
    sizes = _sizes(optims[0])
    if len(sizes) != len(model.groups):
        raise CheckpointError(f"{shown(folder)}: {len(sizes)} groups of weights, not {len(model.groups)}")
    tensors: dict[str, torch.Tensor] = {}
    for group, shapes in enumerate(model.groups):
        share, needed = sizes[group], sum(math.prod(shape) for shape in shapes.values())
        _check_amount(folder, share * len(optims), needed, most_padding=2 * len(optims))
        flat = torch.empty(share * len(optims))
        for rank, (optim, archive) in enumerate(zip(optims, archives, strict=True)):
            _fill(flat[rank * share : (rank + 1) * share], optim, archive, group, 0)
        tensors |= dict(_views(flat, shapes))
    return tensors


def _views(flat: torch.Tensor, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, torch.Tensor]]:
    begin = 0
    for name, shape in shapes.items():
        end = begin + math.prod(shape)
        yield name, flat[begin:end].view(shape)
        begin = end


def _join_pieces(
    folder: Path, model: ModelStates, optims: Sequence[OptimStates], archives: Sequence[OpenArchive]
) -> dict[str, torch.Tensor]:
    """Join the weights of ZeRO-3: each has a piece per rank, the last one padded; pieces are concatenated."""
    n_ranks = len(optims)
    shapes = {name: shape for group in model.groups for name, shape in group.items()}
    shares = {name: -(-math.prod(shape) // n_ranks) for name, shape in shapes.items()}
    _check_amount(folder, sum(_sizes(optims[0])), sum(shares.values()), most_padding=0)
    tensors = {}
    begin = 0
    for name, shape in shapes.items():
        n_items, share = math.prod(shape), shares[name]
        flat = torch.empty(n_items)
        for rank, (optim, archive) in enumerate(zip(optims, archives, strict=True)):
            piece = flat[rank * share : min((rank + 1) * share, n_items)]
            _fill_across(piece, optim, archive, begin)
        tensors[name] = flat.view(shape)
        begin += share
    return tensors


def _check_amount(folder: Path, held: int, needed: int, *, most_padding: int) -> None:
    if not needed <= held <= needed + most_padding:
        raise CheckpointError(
            f"{shown(folder)}: its ranks have {held} elements of the {needed} that its weights have"
        )


def _fill_across(target: torch.Tensor, optim: OptimStates, archive: OpenArchive, begin: int) -> None:
    """Fill the target from a rank's partitions, which count as one, from element `begin` on."""
    done, skipped = 0, 0
    for group, size in enumerate(_sizes(optim)):
        first = max(begin + done - skipped, 0)
        n_items = min(size - first, target.numel() - done)
        if n_items > 0:
            _fill(target[done : done + n_items], optim, archive, group, first)
            done += n_items
        skipped += size
    assert done == target.numel()


def _fill(target: torch.Tensor, optim: OptimStates, archive: OpenArchive, group: int, first: int) -> None:
    partition = optim.partitions[group]
    if partition.dtype == "float32":
        archive.read_into([target], partition, first)
    else:
        target.copy_(archive.read(partition)[first : first + target.numel()])


def _join_frozen(
    folder: Path, models: Sequence[ModelStates], archives: Sequence[OpenArchive]
) -> dict[str, torch.Tensor]:
    """Join the weights of ZeRO-3 that were not trained, from the files of the module's state."""
    tensors = {}
    for name, shape in models[0].frozen.items():
        if any(name not in model.frozen_parts for model in models):
            raise CheckpointError(f"{shown(folder)}: a rank lacks its part of {shown(name)}")
        parts = [
            archive.read(model.frozen_parts[name]).flatten()
            for model, archive in zip(models, archives, strict=True)
        ]
        n_items = math.prod(shape)
        whole = torch.cat(parts)
        if whole.numel() < n_items:
            raise CheckpointError(f"{shown(folder)}: the parts of {shown(name)} are smaller than the whole")
        tensors[name] = whole[:n_items].view(shape)
    return tensors


def _module(model: ModelStates, archive: OpenArchive, name: str) -> torch.Tensor:
    if name not in model.module:
        raise CheckpointError(f"{shown(model.path)} lacks {shown(name)}")
    return archive.read(model.module[name])


def _compare(model: ModelStates, archive: OpenArchive, masters: Mapping[str, torch.Tensor]) -> None:
    """Check that masters equal the weights in the module's own file, except for rounding."""
    for name, master in masters.items():
        copy = _module(model, archive, name)
        share = _PRECISION.get(copy.dtype)
        if copy.shape != master.shape:
            raise CheckpointError(f"{shown(model.path)} has {shown(name)} in another shape")
        if share is not None and not torch.allclose(
            master,
            copy.float(),
            rtol=share,
            atol=1e-30 if copy.dtype != torch.float16 else 1e-7,
            equal_nan=True,
        ):
            raise CheckpointError(
                f"{shown(model.path)}: {shown(name)} differs from the ranks' optimizers",
                "its files are of different steps; copy the checkpoint again",
            )


READER = Reader(read_deepspeed)
