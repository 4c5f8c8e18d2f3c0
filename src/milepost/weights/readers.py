"""How the tensors of each format are read: one function per name in `milepost.sources.formats`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from milepost.weights.adapters import read_adapter
from milepost.weights.asked import Asked, Found
from milepost.weights.dcp.model import read_dcp
from milepost.weights.deepspeed import read_deepspeed
from milepost.weights.huggingface import read_huggingface
from milepost.weights.megatron.reading import read_megatron

READERS: Mapping[str, Callable[[Asked], Found]] = {
    "safetensors": read_huggingface,
    "bin": read_huggingface,
    "megatron": read_megatron,
    "megatron-dist": read_megatron,
    "torchtitan": read_dcp,
    "dcp": read_dcp,
    "deepspeed": read_deepspeed,
    "peft": read_adapter,
}
