"""Check a tokenizer's files before transformers loads them.

Loading normalizes the added tokens, and the library ends the process if memory runs out; it would also wait
for ever for a named pipe.
"""

from __future__ import annotations

from pathlib import Path

from milepost.errors import TokenizerError
from milepost.files import fastjson
from milepost.sources.regular_files import irregular, read_regular
from milepost.text.messages import shown
from milepost.weights.tokenizer_growth import MOST_ADDED, MOST_TIMES, growth

_LARGEST_FILE = 100 * 2**20
_FILE = "tokenizer.json"


def check_tokenizer_files(folder: Path, hint: str) -> None:
    """Check that the files are regular and do not make endless text of a short one.

    Raises:
        TokenizerError: a file is refused; it is named.
    """
    for path in sorted(folder.iterdir()):
        what = None if path.is_dir() else irregular(path)
        if what is not None:
            raise TokenizerError(f"{shown(path)} is {what}, not a file", hint)
    path = folder / _FILE
    if not path.exists():
        return
    try:
        described = fastjson.loads(read_regular(path, _LARGEST_FILE))
        normalizer = described.get("normalizer") if isinstance(described, dict) else None
        times, added = growth(normalizer) if isinstance(normalizer, dict) else (1.0, 0.0)
    except OSError as error:
        raise TokenizerError(f"{shown(path)} cannot be read: {error.strerror or error}", hint) from error
    except (ValueError, TypeError, AttributeError, RecursionError):
        return  # not a tokenizer's description; loading it raises the error
    if times > MOST_TIMES or added > MOST_ADDED:
        raise TokenizerError(
            f"{shown(path)} has a normalizer that makes up to {times:,.0f} characters of one and adds "
            f"{added:,.0f} to each text",
            hint,
        )
