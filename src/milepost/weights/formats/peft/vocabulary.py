"""Find the vocabulary size after merging an adapter, which may have added tokens.

peft expects its user to resize the base first (`AutoPeftModelForCausalLM` does so by the tokenizer beside the
adapter). The shapes of the tensors in the adapter's file are the reliable source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from milepost.sources.config_file import read_config_file
from milepost.sources.formats.huggingface.safetensors_header import read_header
from milepost.sources.formats.peft.layout import ADAPTER_CONFIG, ADAPTER_FILES
from milepost.sources.torch_archive import StoredTensor, read_archive
from milepost.weights.meta_model import meta_module
from milepost.weights.wrapped_names import unwrapped

_PREFIX = "base_model.model."
_FIRST = frozenset({"weight", "bias"})


def rows_after_merging(folder: Path, base: PretrainedConfig) -> int:
    """Return the number of embedding rows after the adapter in a folder is merged into a base of this config.

    Reads the adapter's config and the header of its file.

    Raises:
        CheckpointError: a file is damaged, or the base's config is not valid.
    """
    n_before = int(base.get_text_config().vocab_size)
    settings = read_config_file(folder / ADAPTER_CONFIG)
    name = next((name for name in ADAPTER_FILES if (folder / name).is_file()), ADAPTER_FILES[0])
    if name.endswith(".safetensors"):
        shapes = {key: entry.shape for key, entry in read_header(folder / name).tensors.items()}
    else:
        found = read_archive(folder / name)
        entries = found.items() if isinstance(found, dict) else ()
        shapes = {str(key): value.shape for key, value in entries if isinstance(value, StoredTensor)}
    shapes = {unwrapped(key): shape for key, shape in shapes.items()}
    if not _indices(settings) and not any(_may_be_head(key) for key in shapes):
        return n_before
    return rows_in(shapes, settings, embedding_names(meta_module(folder, base)), n_before)


def _may_be_head(name: str) -> bool:
    """Return True if a tensor is outside the numbered layers, where output embeddings are."""
    return not any(part.isdecimal() for part in name.split("."))


def embedding_names(module: PreTrainedModel) -> tuple[str, ...]:
    """Return the names of the input and the output embedding."""
    embeddings = [module.get_input_embeddings(), module.get_output_embeddings()]
    return tuple(name for name, part in module.named_modules() if any(part is own for own in embeddings))


def rows_in(
    shapes: Mapping[str, Sequence[int]], settings: Mapping[str, Any], embeddings: Sequence[str], n_before: int
) -> int:
    """Return the vocabulary size in the adapter's tensors; `n_before` if they do not show it.

    Args:
        shapes: shapes of the file's tensors, by name.
        settings: the adapter's config.
        embeddings: names of the modules that have a row per token.
        n_before: rows of the base.
    """
    rows = [n for key, shape in shapes.items() if (n := _rows(key, shape, embeddings)) is not None]
    if rows:
        return max(rows)
    added = {index for index in _indices(settings) if index >= n_before}
    return n_before + len(added) if max(added, default=0) < n_before + len(added) else n_before


def _rows(key: str, shape: Sequence[int], embeddings: Sequence[str]) -> int | None:
    name = key.removeprefix(_PREFIX)
    for embedding in embeddings:
        if not name.startswith(f"{embedding}."):
            continue
        rest = name[len(embedding) + 1 :]
        if rest.startswith("lora_embedding_A"):
            return shape[1] if len(shape) == 2 else None
        if rest.startswith("lora_B."):
            return shape[0] if len(shape) == 2 else None
        is_whole = "lora_" not in rest and "trainable_tokens" not in rest and rest.split(".")[-1] in _FIRST
        return shape[0] if is_whole and shape else None
    return None


def _indices(settings: Mapping[str, Any]) -> list[int]:
    indices = settings.get("trainable_token_indices") or settings.get("token_indices") or []
    lists = indices.values() if isinstance(indices, dict) else [indices]
    return [index for part in lists if isinstance(part, list) for index in part if type(index) is int]
