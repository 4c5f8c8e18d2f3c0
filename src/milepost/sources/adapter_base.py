"""The model that an adapter changes: found where the adapter says, or where the user does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from milepost.errors import MilepostError
from milepost.sources.config_file import read_config_file
from milepost.sources.fetch import fetch_config
from milepost.sources.formats.peft.layout import ADAPTER_CONFIG
from milepost.sources.names import shown
from milepost.types import Checkpoint

HUB_SCHEME = "hf://"


def with_base(checkpoint: Checkpoint, given: str | None, find: Callable[[str], Checkpoint]) -> Checkpoint:
    """The adapter with the model it changes, or with the problem that there is none to be had.

    Args:
        given: a folder or Hub address that goes before what the adapter names.
        find: gives the one checkpoint at an address.
    """
    if checkpoint.format != "peft" or checkpoint.problem:
        return checkpoint
    try:
        address = given or _address_in(checkpoint)
        base = find(address)
    except MilepostError as error:
        problem = f"its base cannot be had ({error.message}); --base gives another"
        return replace(checkpoint, problem=problem)
    if base.problem or base.format == "peft":
        problem = base.problem or "is an adapter itself"
        return replace(checkpoint, problem=f"its base {shown(base.source)}: {problem}")
    return replace(checkpoint, base=base)


def _address_in(checkpoint: Checkpoint) -> str:
    """Where the adapter says its base lies.

    A path is looked for from the adapter's folder, from the run's above it, and from where we are. An adapter
    from the Hub can name a repository only: it must not make us read folders of this machine.

    Raises:
        CheckpointError: the adapter's config cannot be read, or could not be downloaded.
    """
    config = read_config_file(fetch_config(checkpoint) / ADAPTER_CONFIG)
    named = str(config.get("base_model_name_or_path") or "")
    if isinstance(checkpoint.location, Path):
        for place in (checkpoint.location, checkpoint.location.parent, Path.cwd()):
            if named and (place / named).is_dir():
                return str((place / named).resolve())
    revision = config.get("revision")
    return f"{HUB_SCHEME}{named}@{revision}" if revision else f"{HUB_SCHEME}{named}"
