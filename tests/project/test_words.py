"""Docstrings are plain sentences in the field's words: docs/glossary.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "milepost"
RIDDLES = {"What", "Whether", "How", "Which", "Where", "Why", "Of", "Within", "Those", "As", "By", "Nothing"}
"""Words that begin a question or half a sentence, where a verb or a noun says what the code does."""


def _docstrings() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (
                text := ast.get_docstring(node)
            ):
                yield f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 1)}", text


def test_a_docstring_says_what_the_code_does() -> None:
    found = [
        f"{where}: {text.splitlines()[0]}" for where, text in _docstrings() if text.split()[0] in RIDDLES
    ]
    assert found == []
