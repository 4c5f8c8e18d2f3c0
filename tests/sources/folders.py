"""Small folders that look like checkpoints; their tensors are a few bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from milepost.errors import MilepostError

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4}


def safetensors(path: Path, name: str = "weight", values: bytes = b"\1\2\3\4") -> None:
    """A valid safetensors file with one float32 tensor of one element."""
    header = {name: {"dtype": "F32", "shape": [len(values) // 4], "data_offsets": [0, len(values)]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)


def model(folder: Path, values: bytes = b"\1\2\3\4", config: dict[str, Any] | None = None) -> Path:
    """A folder with config, weights and a tokenizer file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    (folder / "tokenizer.json").write_text("{}")
    safetensors(folder / "model.safetensors", values=values)
    return folder


def sharded(folder: Path, n: int = 2) -> Path:
    """A folder whose weights are `n` shards and an index."""
    model(folder)
    (folder / "model.safetensors").unlink()
    shards = [f"model-{i:05d}-of-{n:05d}.safetensors" for i in range(1, n + 1)]
    for i, shard in enumerate(shards):
        safetensors(folder / shard, name=f"weight{i}")
    index = {"weight_map": {f"weight{i}": shard for i, shard in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def refusal_of(work: Callable[[], Any]) -> MilepostError | None:
    """The error for people that some work ends in; None where it succeeds. Anything else goes through."""
    try:
        work()
    except MilepostError as refusal:
        return refusal
    return None
