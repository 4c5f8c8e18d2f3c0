"""Find links that leave their folder: a foreign checkpoint must not make us read other files of this machine.

A snapshot in a Hugging Face cache links to the blobs of its own repository, which is allowed.
"""

from __future__ import annotations

import os
from pathlib import Path


def leads_out(path: Path) -> bool:
    """Return True for a link to a place outside its folder (and outside its repository's cache)."""
    if not os.path.islink(path):
        return False
    folder = path.parent.resolve()
    target = path.resolve()
    return not any(target.is_relative_to(place) for place in (folder, hub_cache_around(folder)) if place)


def is_dangling(path: Path) -> bool:
    """Return True for a link without a target: an unmounted disk, a pruned cache, or the link itself."""
    return os.path.islink(path) and not os.path.exists(path)


def hub_cache_around(folder: Path) -> Path | None:
    """Return `.../models--org--name` for a resolved folder inside one of its snapshots, else None."""
    for place in folder.parents:
        if place.name == "snapshots" and place.parent.name.startswith("models--"):
            return place.parent
    return None
