"""Write data as JSON for people and programs."""

from __future__ import annotations

import json


def json_text(value: object) -> str:
    """Return the value as indented JSON.

    Raises:
        ValueError: NaN or infinity is in it; JSON cannot express them.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8
        return json.dumps(value, indent=1, allow_nan=False)
    return text
