"""Read a Megatron-LM folder into a transformers config and tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from transformers import PretrainedConfig

from milepost.cores import usable_cores
from milepost.errors import CheckpointError
from milepost.sources.formats.megatron.metadata import COMMON, read_settings
from milepost.text.messages import shown
from milepost.weights.formats.megatron.args import MegatronArgs, parse_args
from milepost.weights.formats.megatron.gpt2 import Gpt2
from milepost.weights.formats.megatron.legacy import LegacyCheckpoint
from milepost.weights.formats.megatron.llama import LLAMA_LIKE, LlamaLike
from milepost.weights.formats.megatron.tensor_specs import EMBEDDING
from milepost.weights.formats.megatron.torch_dist import DistCheckpoint
from milepost.weights.reader import Reader, ReadRequest, ReadResult

_ITERATION_FOLDER = re.compile(r"iter_(\d+)")

Family = Gpt2 | LlamaLike
_FAMILIES: tuple[Family, ...] = (Gpt2(), *LLAMA_LIKE)


def megatron_config(folder: Path) -> PretrainedConfig:
    """Derive the config of a checkpoint's model from its args and the rows of its embedding.

    Raises:
        CheckpointError: a file is missing or unsafe, or no architecture computes this model.
    """
    args = parse_args(read_settings(folder))
    vocabulary = args.padded_vocabulary or _open(folder).vocabulary
    return _family(folder, args).config(args, vocabulary)


def read_megatron(request: ReadRequest) -> ReadResult:
    """Read config and tensors of a checkpoint; some tensors are views of others, transposed or cut.

    Needs the memory of the model and, in the torch_dist layout, for a moment that of its largest tensor.

    Raises:
        CheckpointError: as `megatron_config`; a file is damaged; copies of a tensor differ.
    """
    request.check_hashes()
    folder = request.folder
    with _open(folder) as checkpoint:
        args = checkpoint.args
        family = _family(folder, args)
        tensors: dict[str, torch.Tensor] = {}
        file_of: dict[str, str] = {}

        def take(key: str) -> None:
            for name, whole in checkpoint.read(key).items():
                if name == EMBEDDING:
                    checkpoint.check_tied(whole)
                for own_name, own in family.tensors(args, name, whole):
                    tensors[own_name] = own
                    file_of[own_name] = checkpoint.file_of(name)

        _for_each(checkpoint.keys, take, n_threads=min(checkpoint.n_readers, usable_cores()))
        tensors.update(family.additions(args))
        config = family.config(args, checkpoint.vocabulary)
        ordered = dict(sorted(tensors.items()))
        return ReadResult(ordered, file_of, config, _warnings(folder, checkpoint.iteration))


def _for_each(keys: Iterable[str], work: Callable[[str], None], n_threads: int) -> None:
    """Call `work` for every key in threads; after a failure, keys that have not begun are skipped."""
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for done in [pool.submit(work, key) for key in keys]:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _open(folder: Path) -> LegacyCheckpoint | DistCheckpoint:
    return DistCheckpoint(folder) if (folder / COMMON).exists() else LegacyCheckpoint(folder)


def _family(folder: Path, args: MegatronArgs) -> Family:
    for family in _FAMILIES:
        if family.fits(args):
            return family
    raise CheckpointError(
        f"{shown(folder)}: no architecture of transformers computes its model: {_described(args)}"
    )


def _described(args: MegatronArgs) -> str:
    parts = {
        "rotary positions": args.position == "rope",
        "learned positions": args.position == "learned_absolute",
        f"{args.rotary_dim} of {args.head_dim} dimensions rotated": args.rotary_dim != args.head_dim,
        args.norm: True,
        "gated MLP": args.gated,
        "plain MLP": not args.gated,
        "biases": args.bias,
        "normalised queries and keys": args.qk_norm,
        f"heads of {args.head_dim}": args.heads * args.head_dim != args.hidden,
    }
    return ", ".join(part for part, there in parts.items() if there)


def _warnings(folder: Path, iteration: int) -> tuple[str, ...]:
    named = _ITERATION_FOLDER.fullmatch(folder.name)
    if named and int(named[1]) != iteration:
        return (f"the folder is named {shown(folder.name)}, but its files are of iteration {iteration}",)
    return ()


READER = Reader(read_megatron, megatron_config)
