"""Find the base model of an adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from milepost.errors import MilepostError
from milepost.sources.config_file import read_config_file
from milepost.sources.fetch import fetch_config
from milepost.sources.formats.peft.layout import ADAPTER_CONFIG
from milepost.text.messages import shown
from milepost.types.checkpoints import Checkpoint

HUB_SCHEME = "hf://"


def with_base(checkpoint: Checkpoint, override: str | None, find: Callable[[str], Checkpoint]) -> Checkpoint:
    """Return the adapter with its base, or with the problem that kept the base from being found.

    Args:
        override: a folder or Hub address that replaces the one in the adapter's config.
        find: returns the only checkpoint at an address.
    """
    if checkpoint.format != "peft" or checkpoint.problem:
        return checkpoint
    try:
        address = override or _address_in(checkpoint)
        base = find(address)
    except MilepostError as error:
        problem = f"its base cannot be used ({error.message}); --base gives another"
        return replace(checkpoint, problem=problem)
    if base.problem or base.format == "peft":
        problem = base.problem or "is an adapter itself"
        return replace(checkpoint, problem=f"its base {shown(base.source)}: {problem}")
    return replace(checkpoint, base=base)


def _address_in(checkpoint: Checkpoint) -> str:
    """Return the address of the base in the adapter's config.

    A path is looked up from the adapter's folder, its parent and the current folder. An adapter from the Hub
    may only name a repository, so that it cannot make us read folders of this machine.
    """
    config = read_config_file(fetch_config(checkpoint) / ADAPTER_CONFIG)
    named = str(config.get("base_model_name_or_path") or "")
    if isinstance(checkpoint.location, Path):
        for place in (checkpoint.location, checkpoint.location.parent, Path.cwd()):
            if named and (place / named).is_dir():
                return str((place / named).resolve())
    revision = config.get("revision")
    return f"{HUB_SCHEME}{named}@{revision}" if revision else f"{HUB_SCHEME}{named}"
