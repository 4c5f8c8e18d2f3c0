"""Check the size of a tokenizer's files before transformers loads them.

Loading already normalizes tokens that were added, and the library that does so ends the process where memory
ends; a named pipe among the files would be waited for.
"""

from __future__ import annotations

from pathlib import Path

from milepost import fastjson
from milepost.errors import TokenizerError
from milepost.sources.names import shown
from milepost.sources.regular_files import irregular, read_regular
from milepost.weights.tokenizer_growth import MOST_ADDED, MOST_TIMES, growth

_LARGEST_FILE = 100 * 2**20
_FILE = "tokenizer.json"


def check_tokenizer_files(folder: Path, hint: str) -> None:
    """Refuse files that are none, or that make endless text of a short one.

    Raises:
        TokenizerError: naming the file.
    """
    for path in sorted(folder.iterdir()):
        what = None if path.is_dir() else irregular(path)
        if what is not None:
            raise TokenizerError(f"{shown(str(path))} is {what}, not a file", hint)
    path = folder / _FILE
    if not path.exists():
        return
    try:
        told = fastjson.loads(read_regular(path, _LARGEST_FILE))
        normalizer = told.get("normalizer") if isinstance(told, dict) else None
        times, added = growth(normalizer) if isinstance(normalizer, dict) else (1.0, 0.0)
    except OSError as error:
        raise TokenizerError(f"{shown(str(path))} cannot be read: {error.strerror or error}", hint) from error
    except (ValueError, TypeError, AttributeError, RecursionError):
        return  # no description of a tokenizer; loading it says what is wrong
    if times > MOST_TIMES or added > MOST_ADDED:
        raise TokenizerError(
            f"{shown(str(path))} has a normalizer that makes up to {times:,.0f} characters of one and adds "
            f"{added:,.0f} to each text",
            hint,
        )
