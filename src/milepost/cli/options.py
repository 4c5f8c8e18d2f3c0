"""Spell options the same way in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from milepost.buckets import as_path


class Place(click.ParamType[Path]):
    """A folder on a disk or in a bucket."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the folder's path. Raises: MilepostError for an address without a bucket."""
        return as_path(value)


def spell_with_dashes(name: str) -> str:
    """Let `--num_fewshot`, as lm_eval spells it, and `--num-fewshot` be the same option."""
    return name.replace("_", "-")
