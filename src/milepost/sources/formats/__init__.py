"""The checkpoint formats, one folder each, which recognise and check folders without reading tensors.

The readers are in folders of the same names in `milepost.weights.formats`.
"""

from milepost.sources.formats.dcp.layout import DCP, TORCHTITAN
from milepost.sources.formats.deepspeed.layout import DEEPSPEED
from milepost.sources.formats.format import Contents, Format, Layout
from milepost.sources.formats.huggingface.layout import BIN, SAFETENSORS
from milepost.sources.formats.megatron.layout import MEGATRON, TORCH_DIST
from milepost.sources.formats.peft.layout import PEFT

FORMATS: tuple[Format, ...] = (
    SAFETENSORS,
    BIN,
    PEFT,
    MEGATRON,
    TORCH_DIST,
    TORCHTITAN,
    DCP,
    DEEPSPEED,
)
"""In order of preference: the first format that recognises a folder is used."""

_BY_NAME = {format.name: format for format in FORMATS}

__all__ = ["BIN", "FORMATS", "SAFETENSORS", "Contents", "Format", "Layout", "format_named"]


def format_named(name: str) -> Format | None:
    """Return the format of a `Checkpoint.format`; None for `unknown`."""
    return _BY_NAME.get(name)
