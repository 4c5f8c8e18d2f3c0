"""Try an adapter's regular expressions with a time limit before peft uses them.

A few characters such as `((a+)+)+!` can keep Python's `re` busy for ever, and it cannot be interrupted. So
patterns with a repeated repetition are tried first in a separate process, which can be.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

TIME_LIMIT_S = 20.0
"""Time limit in seconds for all patterns and names, including the start of the process; normal ones need
milliseconds.
"""
_REPEATED_GROUP = re.compile(r"\)\s*(?:[*+?]|\{\d)")
_REPETITION = re.compile(r"(?<!\\)(?:[*+]|\{\d*,\d*\})")
_MAX_REPETITIONS = 4
"""Patterns with at most this many repetitions are fast on a module's name."""
_TRIAL = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    for form in (pattern, f"(.*\\\\.)?({pattern})$", f".*\\\\.{pattern}\\\\.(\\\\d+)\\\\."):
        try:
            compiled = re.compile(form)
        except re.error:
            continue
        for name in names:
            compiled.fullmatch(name), compiled.match(name)
"""


def endless_pattern(settings: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the name of a setting whose pattern does not terminate on the modules' names, or None.

    Args:
        settings: the adapter's config.
        names: names of the base's modules.
    """
    suspects = {
        key: risky
        for key, patterns in _patterns(settings).items()
        if (risky := [pattern for pattern in patterns if _is_risky(pattern)])
    }
    known = list(names)
    return next((key for key, patterns in suspects.items() if not _terminates(patterns, known)), None)


def _patterns(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    found = {}
    for key in ("target_modules", "exclude_modules", "layers_pattern", "target_parameters"):
        value = settings.get(key)
        if isinstance(value, str):
            found[key] = [value]
        elif key == "layers_pattern" and isinstance(value, list):
            found[key] = [pattern for pattern in value if isinstance(pattern, str)]
    for key in ("rank_pattern", "alpha_pattern"):
        if isinstance(settings.get(key), dict):
            found[key] = list(settings[key])
    return found


def _is_risky(pattern: str) -> bool:
    return bool(_REPEATED_GROUP.search(pattern)) or len(_REPETITION.findall(pattern)) > _MAX_REPETITIONS


def _terminates(patterns: list[str], names: list[str]) -> bool:
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRIAL],
            input=json.dumps([patterns, names]),
            text=True,
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return True
