"""Spell options the same way in every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from milepost.buckets import as_path

Command = TypeVar("Command", bound=Callable[..., Any])
"""A function that becomes a command."""


class Place(click.ParamType[Path]):
    """A folder on a disk or in a bucket."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the folder's path. Raises: MilepostError for an address without a bucket."""
        return as_path(value)


def output_option(flag: str = "--output", **described: Any) -> Callable[[Command], Command]:
    """Return the option `-o`, a path; other arguments as of `click.option`."""
    return click.option("-o", flag, type=click.Path(path_type=Path), show_default=True, **described)


def spell_with_dashes(name: str) -> str:
    """Let `--num_fewshot`, as lm_eval spells it, and `--num-fewshot` be the same option."""
    return name.replace("_", "-")
