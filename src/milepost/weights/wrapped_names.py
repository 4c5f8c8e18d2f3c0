"""Remove wrapper names (torch.compile, DDP, FSDP) from tensors' names."""

from __future__ import annotations

from collections.abc import Iterable

_ANYWHERE = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Names that torch.compile, FSDP 1 and activation checkpointing add, also to single layers."""
_IN_FRONT = _ANYWHERE | {"module", "_forward_module"}
"""Prefixes of DDP's, DeepSpeed's and Lightning Fabric's wrappers of the whole model."""


def unwrapped(name: str) -> str:
    """Return a tensor's name without the parts that wrappers put into it."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _IN_FRONT:
        parts = parts[1:]
    return ".".join([*(part for part in parts[:-1] if part not in _ANYWHERE), parts[-1]])


def renamed(names: Iterable[str]) -> dict[str, str]:
    """Map each name to the name without wrappers; unchanged if two names would become one."""
    known = {name: unwrapped(name) for name in names}
    return known if len(set(known.values())) == len(known) else {name: name for name in known}
