"""Find the texts to translate: marked ones, help, docstrings of commands, constants of errors, warnings.

Babel calls `extract_python` and `extract_suites`; they yield line, function, text and comments of each text.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any

import yaml
from babel.messages import extract

Found = tuple[int, Any, Any, Any]

ERRORS = {"MilepostError", "SourceError", "CheckpointError", "TaskError", "TokenizerError", "ResultsError"}
ERRORS |= {"StorageError", "RecorderError", "BucketError", "MissingDataError", "error"}


def extract_python(
    file: IO[bytes], keywords: Mapping[str, Any], tags: Collection[str], options: Any
) -> Iterator[Found]:
    """Yield the texts in calls of the keywords, and those that Milepost looks up without a mark."""
    yield from extract.extract_python(file, keywords, tags, options)
    file.seek(0)
    for node in ast.walk(ast.parse(file.read())):
        for line, text in _unmarked(node):
            yield line, None, text, []


def extract_suites(
    file: IO[bytes], keywords: Mapping[str, Any], tags: Collection[str], options: Mapping[str, Any]
) -> Iterator[Found]:
    """Yield what a suite says about itself."""
    yield 1, None, yaml.safe_load(file)["about"], []


def _unmarked(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Call):
        values = [keyword.value for keyword in node.keywords if keyword.arg in ("help", "hint")]
        if isinstance(node.func, ast.Name) and node.func.id in ("_", "Phrase"):
            values += node.args[:1]  # Babel finds these but, before Python 3.12, not those in f-strings
        if isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            values += node.args[:2]
        if ast.unparse(node.func) == "options.error":
            values += node.args[:2]
        if isinstance(node.func, ast.Name) and node.func.id == "Finding":
            values += [node.args[0], *node.args[2:]]
        if isinstance(node.func, ast.Name) and node.func.id in ("columns", "Column"):
            values += node.args  # headings of tables
        if ast.unparse(node.func) in ("logger.warning", "logger.error"):
            values += node.args[:1]
        for value in values:
            yield from _constants(value)
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).lower().endswith("hint"):
        yield from _constants(node.value)
    if isinstance(node, ast.FunctionDef) and any(map(_makes_a_command, node.decorator_list)):
        text = ast.get_docstring(node)
        if text is not None:
            yield node.lineno, inspect.cleandoc(text)


def _constants(value: ast.expr) -> Iterator[tuple[int, str]]:
    """Yield a text, or those of `"a" if x else "b"` and `a or "b"`."""
    if isinstance(value, ast.IfExp):
        yield from _constants(value.body)
        yield from _constants(value.orelse)
    elif isinstance(value, ast.BoolOp):
        for one in value.values:
            yield from _constants(one)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.lineno, value.value


def _makes_a_command(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func) in ("click.command", "click.group")
