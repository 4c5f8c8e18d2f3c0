"""A checkpoint's `config.json` as plain data, before anything believes what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.names import shown
from milepost.sources.regular_files import read_regular

_MAX_BYTES = 50_000_000
_MAX_DEPTH = 50


def read_config_file(path: Path) -> dict[str, Any]:
    """The JSON object in a config file.

    Raises:
        CheckpointError: it cannot be read, does not parse, is no object, or is nested beyond all reason.
    """
    name = shown(str(path))
    try:
        config = json.loads(read_regular(path, _MAX_BYTES))
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name} does not parse: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{name} is not a JSON object")
    if _is_deeper(config, _MAX_DEPTH):
        raise CheckpointError(f"{name} is nested more than {_MAX_DEPTH} levels deep")
    return config


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)
