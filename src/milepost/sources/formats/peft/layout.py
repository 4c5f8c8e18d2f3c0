"""Folders of PEFT adapters: `adapter_config.json` and the adapter's tensors, without the base model."""

from __future__ import annotations

from pathlib import Path

from milepost.sources.formats.format import Contents, Format, Layout, complete
from milepost.sources.formats.huggingface.safetensors_header import read_header
from milepost.sources.integrity import check_zip, first_refusal

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
"""In order of preference."""


def _recognise(contents: Contents) -> Layout | None:
    if ADAPTER_CONFIG not in contents.files:
        return None
    weights = next((name for name in ADAPTER_FILES if name in contents.files), ADAPTER_FILES[0])
    return complete(contents.files, "peft", (weights,))


def _check(folder: Path, layout: Layout) -> str | None:
    is_safetensors = layout.weight_files[0].endswith(".safetensors")
    return first_refusal(folder, layout.weight_files, read_header if is_safetensors else check_zip)


PEFT = Format(
    name="peft",
    folder="peft",
    recognise=_recognise,
    check=_check,
    needs_config=False,
    describing=(ADAPTER_CONFIG,),
)
