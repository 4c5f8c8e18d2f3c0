"""The pinned versions are those of Python 3.11 and newer; 3.10 takes the newest that still support it."""

import re
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
FOR_EVERY_PYTHON = {"torch", "lm_eval"}
"""Pinned on 3.10 too: the version decides which file is installed, or what a score is."""


def test_a_version_that_may_end_its_support_of_an_old_python_is_pinned_for_newer_ones_only() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not re.match(r"\s*(#|$)", line)]
    pinned = {
        version: {
            pin.name for pin in pins if not pin.marker or pin.marker.evaluate({"python_version": version})
        }
        for version in ("3.10", "3.11", "3.13")
    }
    assert pinned["3.10"] == FOR_EVERY_PYTHON
    assert pinned["3.11"] == pinned["3.13"] == {pin.name for pin in pins}
