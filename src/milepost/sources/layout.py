"""What a folder of files is: which checkpoint format, which weight files, and what is missing.

Works on names and sizes alone, so that a folder on disk and a listing of the Hub are judged by one rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from milepost.sources.names import listed, shown, some

CONFIG = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    "tekken.json", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.txt",
                 "tekken.json")  # fmt: skip
_READ_FILES = frozenset({CONFIG, "generation_config.json", *TOKENIZER_FILES})
_SMALL_FILES = _READ_FILES | {"README.md", ".gitattributes"}
CHECKSUM_FILES = ("SHA256SUMS", ".sha256")
"""Names, or ends of names, of files that tell the SHA-256 of others."""
_UNFINISHED = re.compile(r"(?:^\.?tmp|\.(?:incomplete|tmp|part|partial|lock)$)")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.")


@dataclass(frozen=True, slots=True)
class WeightNames:
    """How one Hugging Face format names its files."""

    format: str
    single: str
    index: str
    shard: re.Pattern[str]


WEIGHT_NAMES = (
    WeightNames(
        "safetensors",
        "model.safetensors",
        "model.safetensors.index.json",
        re.compile(r"model-\d{5}-of-\d{5}\.safetensors"),
    ),
    WeightNames(
        "bin",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        re.compile(r"pytorch_model-\d{5}-of-\d{5}\.bin"),
    ),
)
"""In order of preference: a folder with both is read as safetensors."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder turned out to be."""

    format: str
    weight_files: tuple[str, ...] = ()
    """The files that hold weights, without the index; empty for formats that cannot be read yet."""
    size_bytes: int | None = None
    problem: str | None = None


def recognise(
    files: Mapping[str, int],
    folders: Collection[str],
    read_index: Callable[[str], bytes] | None = None,
) -> Layout | None:
    """Say what a folder holds.

    Args:
        files: name and size in bytes of every file directly in the folder.
        folders: names of its sub-folders.
        read_index: gives the bytes of a small file, to check the shards against the index; without it they
            are checked against the numbers in their names.

    Returns:
        None where nothing in it looks like a checkpoint's weights.
    """
    for names in WEIGHT_NAMES:
        shards = sorted(name for name in files if names.shard.fullmatch(name))
        if names.single in files:
            return _complete(files, names.format, (names.single,))
        if in_the_way := [name for name in folders if _is_weight_name(name, names)]:
            return Layout(names.format, problem=f"{shown(min(in_the_way))} is a folder, not a file")
        if names.index in files or shards:
            return _sharded(files, names, shards, read_index)
    return _not_yet_readable(files, folders)


def has_tokenizer(names: Collection[str]) -> bool:
    """Whether the files can make a tokenizer (a `tokenizer_config.json` alone cannot)."""
    if any(name in names for name in _VOCABULARIES) or {"vocab.json", "merges.txt"} <= set(names):
        return True
    return any(name.endswith(".tiktoken") for name in names)


def is_read(name: str) -> bool:
    """Whether a file of this name, besides the weights, is opened when its checkpoint is evaluated."""
    return name in _READ_FILES or "index" in name or name.endswith((".tiktoken", *CHECKSUM_FILES))


def looks_unfinished(files: Collection[str], folders: Collection[str]) -> bool:
    """Whether a folder without weights looks like a save that has only begun."""
    return not folders and all(name in _SMALL_FILES or _UNFINISHED.search(name) for name in files)


def shards_in_index(name: str, text: bytes) -> tuple[dict[str, str], str | None]:
    """Tensor name to shard name as an index file tells, and what is wrong with it (None where nothing is).

    A shard must be a plain file name: an index cannot send the reader to another folder.
    """
    try:
        index = json.loads(text)
    except (ValueError, RecursionError):
        return {}, f"{name} does not parse"
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        return {}, f"{name} names no shards"
    for shard in weight_map.values():
        if not isinstance(shard, str) or not _is_plain(shard):
            return {}, f"{name} points outside the folder: {shown(str(shard))}"
    return weight_map, None


def _is_weight_name(name: str, names: WeightNames) -> bool:
    return name in {names.single, names.index} or bool(names.shard.fullmatch(name))


def _sharded(
    files: Mapping[str, int],
    names: WeightNames,
    shards: list[str],
    read_index: Callable[[str], bytes] | None,
) -> Layout:
    if names.index not in files:
        size = sum(files[name] for name in shards)
        return Layout(names.format, tuple(shards), size, f"{names.index} is missing")
    if read_index is None:
        wanted = _numbered(shards)
    else:
        weight_map, problem = shards_in_index(names.index, read_index(names.index))
        if problem:
            return Layout(names.format, tuple(shards), sum(files[name] for name in shards), problem)
        wanted = sorted(set(weight_map.values()))
    return _complete(files, names.format, tuple(wanted))


def _complete(files: Mapping[str, int], format: str, weights: tuple[str, ...]) -> Layout:
    missing = [name for name in weights if name not in files]
    empty = [name for name in weights if files.get(name) == 0]
    size = sum(files.get(name, 0) for name in weights)
    problem = None
    if missing:
        problem = f"missing: {some(missing)}"
    elif empty:
        problem = f"{listed(empty[:1])} is empty"
    elif not weights:
        problem = "the shards are missing"
    return Layout(format, weights, size, problem)


def _numbered(shards: list[str]) -> list[str]:
    """All the shards that the numbers in the names of those present promise."""
    wanted = set(shards)
    for name in shards:
        if form := _SHARD.search(name):
            head, tail, total = name[: form.start()], name[form.end() :], int(form.group(2))
            wanted |= {f"{head}-{i:05d}-of-{total:05d}.{tail}" for i in range(1, total + 1)}
    return sorted(wanted)


def _not_yet_readable(files: Mapping[str, int], folders: Collection[str]) -> Layout | None:
    if "adapter_config.json" in files:
        adapter = sum(size for name, size in files.items() if name.startswith("adapter_model."))
        return _unreadable("peft", "PEFT adapter", adapter)
    if any(name.startswith("mp_rank_") for name in folders):
        return _unreadable("megatron", "Megatron-LM", None)
    pieces = sum(size for name, size in files.items() if name.endswith(".distcp"))
    if ".metadata" in files or any(name.endswith(".distcp") for name in files):
        if "common.pt" in files:
            return _unreadable("torch_dist", "Megatron-LM torch_dist", pieces)
        return _unreadable("dcp", "torch.distributed (DCP)", pieces)
    if any(name.endswith("_model_states.pt") for name in files):
        return _unreadable("deepspeed", "DeepSpeed", sum(files.values()))
    return None


def _unreadable(format: str, title: str, size: int | None) -> Layout:
    return Layout(format, (), size, f"{title} checkpoints cannot be read yet")


def _is_plain(name: str) -> bool:
    return bool(name) and not set(name) & {"/", "\\", "\0"} and name not in {".", ".."}
