"""Read a legacy checkpoint: tensors joined from its tensor- and pipeline-parallel ranks.

Each part is read to its place in the whole, so that a tensor is in memory once. Tensors that all ranks have
are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from milepost.errors import CheckpointError
from milepost.sources.formats.megatron.metadata import (
    Rank,
    RankFile,
    first_rank_file,
    missing_ranks,
    rank_files,
    read_rank_file,
)
from milepost.sources.torch_archive import StoredTensor
from milepost.text.messages import shown, some
from milepost.weights.formats.megatron.args import MegatronArgs, parse_args
from milepost.weights.formats.megatron.attention import rows_of_rank
from milepost.weights.formats.megatron.pipeline import Chunk, chunk_order, first_layers
from milepost.weights.formats.megatron.tensor_specs import (
    EMBEDDING,
    OUTPUT,
    in_layer,
    layer_name,
    model_slots,
)
from milepost.weights.torch_tensors import OpenArchive, is_contiguous, open_archive

_VERSION = 3.0
"""Version of the order of queries, keys and values; earlier versions had another order."""


@dataclass(frozen=True, slots=True)
class _Part:
    file: RankFile
    stored: StoredTensor


class LegacyCheckpoint:
    """A checked folder of `mp_rank_*`, whose tensors are read on request."""

    n_readers = 4
    """Threads that may read at once: each waits for the disk or copies memory."""

    def __init__(self, folder: Path) -> None:
        """Read the settings and the places of tensors.

        Raises:
            CheckpointError: a file is missing, damaged or unsafe; the ranks contradict each other or their
                args.
        """
        self.folder = folder
        self._ranks = _read_ranks(folder)
        first = self._ranks[0, 0]
        self.args = parse_args(first.settings)
        self.iteration = first.settings.iteration
        _check_agreement(self._ranks, self.args)
        self._parts = _placed(self._ranks, self.args)
        self.vocabulary = self._vocabulary()
        self.slots = model_slots(self.args, self.vocabulary)
        self._check_slots()
        self._archives: dict[Path, OpenArchive] = {}
        self._open = ExitStack()

    def __enter__(self) -> LegacyCheckpoint:
        for rank in self._ranks.values():
            path = rank.settings.path
            self._archives[path] = self._open.enter_context(open_archive(path))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def file_of(self, name: str) -> str:
        """Return the file with the beginning of a tensor, relative to the folder."""
        return str(self._parts[name][0].file.settings.path.relative_to(self.folder))

    @property
    def keys(self) -> list[str]:
        """Return the names of the tensors that can be read, in any order."""
        return list(self.slots)

    def read(self, key: str) -> dict[str, torch.Tensor]:
        """Return the tensor of the whole model of this name; several threads may call it.

        Raises:
            CheckpointError: the tensor cannot be read, or ranks that should have the same one do not.
        """
        return {key: self._whole(key)}

    def _whole(self, name: str) -> torch.Tensor:
        parts, slot = self._parts[name], self.slots[name]
        whole = torch.empty(slot.shape, dtype=getattr(torch, parts[0].stored.dtype))
        if slot.split is None:
            self._archive(parts[0]).read_into([whole], parts[0].stored)
            for other in parts[1:]:
                self._check_same(name, whole, other)
            return whole
        for number, part in enumerate(parts):
            if slot.split == 1:
                size = part.stored.shape[1]
                self._archive(part).read_columns(whole[:, number * size : (number + 1) * size], part.stored)
            else:
                targets = rows_of_rank(whole, slot, self.args, number)
                self._archive(part).read_into(targets, part.stored)
        return whole

    def check_tied(self, embedding: torch.Tensor) -> None:
        """Compare a tied embedding with the copy in the last pipeline stage.

        Raises:
            CheckpointError: they differ.
        """
        parts = self._parts.get(OUTPUT, [])
        if not self.args.tied or not parts:
            return
        rows = len(embedding) // len(parts)
        for number, part in enumerate(parts):
            if not self._is_same(embedding[number * rows : (number + 1) * rows], part):
                raise CheckpointError(
                    f"{_path(part)}: its copy of the tied embedding ({OUTPUT}) differs from the first stage's"
                )

    def _is_same(self, tensor: torch.Tensor, part: _Part) -> bool:
        return self._archive(part).holds(tensor, part.stored)

    def _archive(self, part: _Part) -> OpenArchive:
        return self._archives[part.file.settings.path]

    def _check_same(self, name: str, tensor: torch.Tensor, other: _Part) -> None:
        if not self._is_same(tensor, other):
            raise CheckpointError(
                f"{_path(other)}: {shown(name)} differs from the first rank's, though each rank has all of it"
            )

    def _vocabulary(self) -> int:
        """Return the number of rows of the embedding in the files, padding included."""
        parts = self._parts.get(EMBEDDING)
        if not parts:
            raise CheckpointError(f"{shown(self.folder)} has no {EMBEDDING}")
        rows = sum(part.stored.shape[0] if part.stored.shape else 0 for part in parts)
        if self.args.padded_vocabulary not in (None, rows):
            raise CheckpointError(
                f"{_path(parts[0])}: the embedding has {rows} rows on all ranks, its args give "
                f"{self.args.padded_vocabulary}"
            )
        return rows

    def _check_slots(self) -> None:
        where = shown(self.folder)
        if missing := self.slots.keys() - self._parts.keys():
            raise CheckpointError(f"{where} lacks weights that its args need: {some(missing)}")
        left_over = self._parts.keys() - self.slots.keys() - ({OUTPUT} if self.args.tied else set())
        if left_over:
            raise CheckpointError(f"{where} has weights that its args do not know: {some(left_over)}")
        for name, parts in self._parts.items():
            self._check_shapes(name, parts)

    def _check_shapes(self, name: str, parts: list[_Part]) -> None:
        slot = self.slots.get(name, self.slots[EMBEDDING])
        n_tensor = self.args.n_tensor
        if not slot.divides(n_tensor):
            raise CheckpointError(f"{_path(parts[0])}: {shown(name)} cannot be shared by {n_tensor} ranks")
        expected = slot.on_rank(n_tensor)
        for part in parts:
            if not is_contiguous(part.stored):
                raise CheckpointError(f"{_path(part)}: {shown(name)} is not contiguous")
            if part.stored.shape != expected or part.stored.dtype != parts[0].stored.dtype:
                raise CheckpointError(
                    f"{_path(part)} does not fit its args: {shown(name)} is {part.stored.dtype} of shape "
                    f"{list(part.stored.shape)}, not {list(expected)}"
                )


def _read_ranks(folder: Path) -> dict[Rank, RankFile]:
    settings = read_rank_file(first_rank_file(folder)).settings
    files = [str(path.relative_to(folder)) for path in folder.glob("mp_rank_*/*.pt")]
    if problem := missing_ranks(settings, files):
        raise CheckpointError(f"{shown(folder)}: {problem}")
    args = parse_args(settings)
    return {
        rank: read_rank_file(folder / name)
        for rank, name in rank_files(args.n_tensor, args.n_pipeline).items()
    }


def _check_agreement(ranks: Mapping[Rank, RankFile], args: MegatronArgs) -> None:
    first = ranks[0, 0].settings
    for rank in ranks.values():
        name, own = shown(rank.settings.path), rank.settings
        if own.version != _VERSION:
            raise CheckpointError(
                f"{name} has checkpoint_version {own.version}, which cannot be read (only {_VERSION})"
            )
        if own.iteration != first.iteration:
            raise CheckpointError(
                f"{name} is of iteration {own.iteration}, "
                f"{shown(first.path.parent.name)} of {first.iteration}"
            )
        if parse_args(own) != args:
            raise CheckpointError(f"{name} has args of another model than {shown(first.path.parent.name)}")
        if len(rank.chunks) != (args.n_virtual or 1):
            raise CheckpointError(
                f"{name} holds {len(rank.chunks)} parts of the virtual pipeline, its args give "
                f"{args.n_virtual or 1}"
            )
    if args.groups % args.n_tensor:
        raise CheckpointError(
            f"{shown(first.path)}: {args.groups} query groups on {args.n_tensor} ranks cannot be joined"
        )


def _placed(ranks: Mapping[Rank, RankFile], args: MegatronArgs) -> dict[str, list[_Part]]:
    """Return the parts of every tensor by name in the whole model, in the order of tensor-parallel ranks."""
    first = _first_layers(ranks, args)
    parts: dict[str, list[_Part]] = {}
    for (_, stage), rank in sorted(ranks.items()):
        for turn, chunk in enumerate(rank.chunks):
            for key, stored in chunk.items():
                found = layer_name(key)
                name = key
                if found is not None and found.layer is not None:
                    name = in_layer(first[turn, stage] + found.layer, found.name)
                parts.setdefault(name, []).append(_Part(rank, stored))
    for name, own in parts.items():
        if len(own) != args.n_tensor:
            raise CheckpointError(
                f"{_path(own[0])}: {shown(name)} is in {len(own)} files, not in one for each of "
                f"{args.n_tensor} ranks"
            )
    return parts


def _first_layers(ranks: Mapping[Rank, RankFile], args: MegatronArgs) -> dict[Chunk, int]:
    held = {}
    for turn, stage in chunk_order(args):
        names = [layer_name(key) for key in ranks[0, stage].chunks[turn]]
        numbers = {name.layer for name in names if name is not None and name.layer is not None}
        if numbers != set(range(len(numbers))):
            raise CheckpointError(f"{shown(ranks[0, stage].settings.path)} lacks a layer")
        held[turn, stage] = len(numbers)
    try:
        return first_layers(args, held)
    except CheckpointError as error:
        where = shown(ranks[0, 0].settings.path.parents[1])
        raise CheckpointError(f"{where}: {error.message}") from error


def _path(part: _Part) -> str:
    return shown(part.file.settings.path)
