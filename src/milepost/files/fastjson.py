"""Parse large JSON with orjson, or with the standard library if orjson is not installed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

_orjson_loads: Callable[[bytes | str], Any] | None = None
with contextlib.suppress(ImportError):  # not needed where only scores are computed
    from orjson import loads as _orjson_loads


def loads(text: bytes | str) -> Any:
    """Return the value of a JSON text; orjson takes a third of the standard library's time.

    Raises:
        ValueError: the text is not valid JSON; NaN, Infinity and very deep nesting are not valid.
    """
    if _orjson_loads is not None:
        return _orjson_loads(text)
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:  # orjson says it as other faults
        raise ValueError("too many brackets in one another") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON")
