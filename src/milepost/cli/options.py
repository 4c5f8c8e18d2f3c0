"""What the commands' options have in common."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator

import click


def spell_with_dashes(name: str) -> str:
    """Let `--num_fewshot`, as lm_eval spells it, and `--num-fewshot` be the same option."""
    return name.replace("_", "-")


def copied(
    command: click.Command, *, only: Collection[str] | None = None, leaving_out: Collection[str] = ()
) -> Iterator[click.Parameter]:
    """The options of another command, which mean the same here; none of them is required."""
    for option in command.params:
        if option.name not in leaving_out and (only is None or option.name in only):
            own = copy.copy(option)
            own.required = False
            yield own
