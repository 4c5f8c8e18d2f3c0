"""Spell options the same way in every command."""

from __future__ import annotations


def spell_with_dashes(name: str) -> str:
    """Let `--num_fewshot`, as lm_eval spells it, and `--num-fewshot` be the same option."""
    return name.replace("_", "-")
