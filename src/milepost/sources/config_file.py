"""Read a checkpoint's `config.json` as plain data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.regular_files import read_regular
from milepost.sources.unreadable_files import unreadable
from milepost.text.language import Phrase
from milepost.text.messages import shown

_MAX_BYTES = 50_000_000
_MAX_DEPTH = 50


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the JSON object in a config file.

    Raises:
        CheckpointError: the file cannot be read, does not parse, is not a JSON object, or is nested too
            deeply.
    """
    name = shown(path)
    try:
        config = json.loads(read_regular(path, _MAX_BYTES))
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(Phrase("{name} does not parse: {error}", name=name, error=error)) from error
    if not isinstance(config, dict):
        raise CheckpointError(Phrase("{name} is not a JSON object", name=name))
    if _is_deeper(config, _MAX_DEPTH):
        raise CheckpointError(
            Phrase("{name} is nested more than {MAX_DEPTH} levels deep", name=name, MAX_DEPTH=_MAX_DEPTH)
        )
    return config


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)
