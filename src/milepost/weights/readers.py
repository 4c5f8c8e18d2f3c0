"""Registry of readers: one function per format of `milepost.sources.formats`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from milepost.weights.formats.dcp.model import read_dcp
from milepost.weights.formats.deepspeed.reader import read_deepspeed
from milepost.weights.formats.huggingface.reader import read_huggingface
from milepost.weights.formats.megatron.reader import read_megatron
from milepost.weights.formats.peft.reader import read_adapter
from milepost.weights.reader import Asked, Found

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
