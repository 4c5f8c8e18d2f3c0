"""lm_eval's own evaluation, to compare with."""

from __future__ import annotations

from typing import Any
from unittest import mock

from lm_eval import evaluator


def simple_evaluate(**arguments: Any) -> dict[str, Any]:
    """lm_eval's results, without what it asks other programs (`pip list`, `lscpu`) about the machine."""
    with mock.patch.object(evaluator, "add_env_info"):
        found: dict[str, Any] = evaluator.simple_evaluate(**arguments)
    return found
