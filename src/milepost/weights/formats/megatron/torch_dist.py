"""Read a torch_dist checkpoint: whole tensors, usually all layers of a kind in one."""

from __future__ import annotations

from pathlib import Path

import torch

from milepost.errors import CheckpointError
from milepost.sources.formats.dcp.metadata import METADATA, read_dcp_metadata
from milepost.sources.formats.megatron.metadata import COMMON, read_common_file
from milepost.text.messages import shown, some
from milepost.weights.formats.dcp.tensors import read_dcp_tensors
from milepost.weights.formats.megatron.args import parse_args
from milepost.weights.formats.megatron.attention import in_order
from milepost.weights.formats.megatron.tensor_specs import (
    EMBEDDING,
    QKV,
    Slot,
    in_layer,
    layer_name,
    model_slots,
)

_NOT_THE_MODEL = ("optimizer.", "chained_", "rng_state", "rerun_state_machine")


class DistCheckpoint:
    """A checked folder of `.distcp` files, whose tensors are read on request."""

    n_readers = 1
    """One tensor at a time, because each takes the memory of all layers of its kind."""

    def __init__(self, folder: Path) -> None:
        """Read `common.pt` and `.metadata`.

        Raises:
            CheckpointError: a file is missing, damaged or unsafe; the args describe another model.
        """
        self.folder = folder
        settings = read_common_file(folder / COMMON)
        self.args = parse_args(settings)
        self.iteration = settings.iteration
        self._metadata = read_dcp_metadata(folder)
        stored = {
            key: entry for key, entry in self._metadata.tensors.items() if not key.startswith(_NOT_THE_MODEL)
        }
        if EMBEDDING not in stored or not stored[EMBEDDING].shape:
            raise CheckpointError(f"{shown(folder)} has no {EMBEDDING}")
        self.vocabulary = stored[EMBEDDING].shape[0]
        if self.args.padded_vocabulary not in (None, self.vocabulary):
            raise CheckpointError(
                f"{shown(folder)}: the embedding has {self.vocabulary} rows, its args give "
                f"{self.args.padded_vocabulary}"
            )
        self.slots = model_slots(self.args, self.vocabulary)
        self._keys = {key: self._names_in(key) for key in stored}
        self._check_names()
        for key, entry in stored.items():
            self._check_shape(key, entry.shape)

    def __enter__(self) -> DistCheckpoint:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def keys(self) -> list[str]:
        """Return the names that can be read; first those that are split into copies, while memory is free."""
        return sorted(self._keys, key=lambda key: (QKV not in key, key))

    def file_of(self, name: str) -> str:
        """Return `.metadata`, which has the places of all tensors."""
        return METADATA

    def read(self, key: str) -> dict[str, torch.Tensor]:
        """Return the tensors of the whole model in one of `keys`, by their names in `slots`.

        Raises:
            CheckpointError: the tensor cannot be read.
        """
        tensor = read_dcp_tensors(self.folder, self._metadata, [key])[key]
        found = layer_name(key)
        stacked = found is not None and found.layer is None
        parts = zip(self._keys[key], tensor if stacked else [tensor], strict=True)
        return {name: in_order(part, self.args) if self.slots[name].grouped else part for name, part in parts}

    def check_tied(self, embedding: torch.Tensor) -> None:
        """Do nothing: a tied embedding is stored once."""

    def _names_in(self, key: str) -> list[str]:
        found = layer_name(key)
        if found is None:
            return [key]
        layers = range(self.args.layers) if found.layer is None else [found.layer]
        return [in_layer(layer, found.name) for layer in layers]

    def _check_names(self) -> None:
        where = shown(self.folder)
        names = [name for own in self._keys.values() for name in own]
        if missing := self.slots.keys() - set(names):
            raise CheckpointError(f"{where} lacks weights that its args need: {some(missing)}")
        if left_over := set(names) - self.slots.keys():
            raise CheckpointError(f"{where} has weights that its args do not know: {some(left_over)}")
        if len(names) != len(self.slots):
            twice = {name for name in names if names.count(name) > 1}
            raise CheckpointError(f"{where} has weights twice: {some(twice)}")

    def _check_shape(self, key: str, shape: tuple[int, ...]) -> None:
        found = layer_name(key)
        slot: Slot = self.slots[self._keys[key][0]]
        stacked = found is not None and found.layer is None
        expected = (self.args.layers, *slot.shape) if stacked else slot.shape
        if shape != expected:
            raise CheckpointError(
                f"{shown(self.folder)} does not fit its args: {shown(key)} has the shape {list(shape)}, "
                f"not {list(expected)}"
            )
