"""Folders of Hugging Face: `model.safetensors` or `pytorch_model.bin`, in one file or in shards."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from milepost.sources.formats.format import Contents, Format, Layout, Unreadable, complete, is_plain
from milepost.sources.formats.huggingface.safetensors_header import read_header
from milepost.sources.integrity import check_zip, first_refusal
from milepost.text.messages import shown

MAX_INDEX_BYTES = 1 << 25
"""An index of 100,000 tensors has about 10 MB."""


@dataclass(frozen=True, slots=True)
class WeightNames:
    """The file names of one Hugging Face format."""

    format: str
    single: str
    index: str
    shard: re.Pattern[str]
    """Names of shards in a folder without an index."""


WEIGHT_NAMES = (
    WeightNames(
        "safetensors",
        "model.safetensors",
        "model.safetensors.index.json",
        re.compile(r"(?:model|pytorch_model|model\.safetensors)-\d+-of-\d+\.safetensors"),
    ),
    WeightNames(
        "bin",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        re.compile(r"(?:model|pytorch_model|pytorch_model\.bin)-\d+-of-\d+\.bin"),
    ),
)
"""In order of preference: a folder with both is read as safetensors."""


def shards_in_index(name: str, text: bytes) -> tuple[dict[str, str], str | None]:
    """Return shard name by tensor name from an index file, and a problem or None.

    A shard must be a plain file name, so that an index cannot send the reader to another folder.
    """
    try:
        index = json.loads(text)
    except (ValueError, RecursionError):
        return {}, f"{name} does not parse"
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        return {}, f"{name} lists no shards"
    for shard in weight_map.values():
        if not isinstance(shard, str) or not is_plain(shard):
            return {}, f"{name} points outside the folder: {shown(shard)}"
    return weight_map, None


def _recognise(contents: Contents, names: WeightNames) -> Layout | None:
    files = contents.files
    shards = sorted(name for name in files if names.shard.fullmatch(name))
    if names.single in files:
        return complete(files, names.format, (names.single,))
    if in_the_way := [name for name in contents.folders if _is_weight_name(name, names)]:
        return Layout(names.format, problem=f"{shown(min(in_the_way))} is a folder, not a file")
    if names.index in files or shards:
        return _sharded(contents, names, shards)
    return None


def _is_weight_name(name: str, names: WeightNames) -> bool:
    return name in {names.single, names.index} or bool(names.shard.fullmatch(name))


def _sharded(contents: Contents, names: WeightNames, shards: list[str]) -> Layout:
    files = contents.files
    if names.index not in files:
        size = sum(files[name] for name in shards)
        return Layout(names.format, tuple(shards), size, f"{names.index} is missing")
    try:
        weight_map, problem = shards_in_index(names.index, contents.read(names.index, MAX_INDEX_BYTES))
    except Unreadable as error:
        weight_map, problem = {}, str(error)
    if problem:
        return Layout(names.format, tuple(shards), sum(files[name] for name in shards), problem)
    return complete(files, names.format, tuple(sorted(set(weight_map.values()))))


def _check_safetensors(folder: Path, layout: Layout) -> str | None:
    return first_refusal(folder, layout.weight_files, read_header)


def _check_bin(folder: Path, layout: Layout) -> str | None:
    return first_refusal(folder, layout.weight_files, check_zip)


SAFETENSORS, BIN = (
    Format(
        name=names.format,
        folder="huggingface",
        recognise=partial(_recognise, names=names),
        check=check,
        describing=(names.index,),
    )
    for names, check in zip(WEIGHT_NAMES, (_check_safetensors, _check_bin), strict=True)
)
