"""Modules do not import each other in circles, and imports inside functions hide none.

Every import counts: at the top of a module, inside a function and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "milepost"

LATE_LIBRARIES = {
    "accelerate",
    "altair",
    "datasets",
    "evaluate",
    "helm",
    "huggingface_hub",
    "jinja2",
    "lm_eval",
    "markupsafe",
    "numpy",
    "pandas",
    "peft",
    "polars",
    "pyarrow",
    "fsspec",
    "pyhocon",
    "pyparsing",
    "ray",
    "rich",
    "scipy",
    "sentencepiece",
    "submitit",
    "torch",
    "trackio",
    "transformers",
    "vl_convert",
    "wandb",
    "watchfiles",
    "yaml",
}
"""Heavy or optional libraries, which may be imported inside functions; all others are imported at the top."""


def _name_of(path: Path) -> str:
    parts = ("milepost", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _modules() -> dict[str, ast.Module]:
    return {_name_of(path): ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def _imported(node: ast.AST) -> Iterator[str]:
    """Yield the modules that an import statement names; the module itself for names inside a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            full_name = f"{node.module}.{alias.name}"
            yield full_name if full_name in _modules() else node.module


def _circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: {module for node in ast.walk(tree) for module in _imported(node) if module in _modules()}
        - {name}
        for name, tree in _modules().items()
    }
    assert _circle(graph) == []


def test_only_heavy_or_optional_libraries_are_imported_inside_functions() -> None:
    """Modules of our own may be, so that a command starts quickly; the test above finds hidden circles."""
    wrong = {
        f"{name}:{node.lineno} imports {module}"
        for name, tree in _modules().items()
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for module in _imported(node)
        if module.split(".")[0] not in {"milepost", *LATE_LIBRARIES, *sys.stdlib_module_names}
    }
    assert wrong == set()


def test_a_circle_would_be_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) != []
