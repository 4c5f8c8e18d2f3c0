"""Every test asserts, itself or through a helper: one that only runs code passes whatever that code does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CHECKS = ("raises", "warns", "fail")
"""Calls of pytest that can fail a test; so can everything named `assert_...` or `check_...`."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _functions(module: str) -> dict[str, Function]:
    """The functions and methods of a module of tests by name."""
    tree = _tree(module)
    return {} if tree is None else {node.name: node for node in ast.walk(tree) if isinstance(node, Function)}


@cache
def _imports(module: str) -> dict[str, tuple[str, str]]:
    """Names in a module that come from other tests: module and name there."""
    tree = _tree(module)
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in (() if tree is None else ast.walk(tree))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("tests.")
        for alias in node.names
    }


@cache
def _tree(module: str) -> ast.Module | None:
    path = TESTS.parent.joinpath(*module.split(".")).with_suffix(".py")
    return ast.parse(path.read_text("utf-8")) if path.is_file() else None


def _asserts(module: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> bool:
    """Whether a function asserts, or calls a function of the tests that does."""
    module, name = _imports(module).get(name, (module, name))
    function = _functions(module).get(name)
    if function is None or (module, name) in seen:
        return False
    if any(isinstance(node, ast.Assert) for node in ast.walk(function)):
        return True
    called = {_called(node) for node in ast.walk(function) if isinstance(node, ast.Call)}
    if any(one in CHECKS or one.startswith(("assert_", "check_")) for one in called):
        return True
    return any(_asserts(module, one, seen | {(module, name)}) for one in called)


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _tests() -> Iterator[tuple[str, str]]:
    for path in sorted(TESTS.rglob("test_*.py")):
        module = ".".join(path.relative_to(TESTS.parent).with_suffix("").parts)
        for name in _functions(module):
            if name.startswith("test_"):
                yield module, name


def test_every_test_asserts() -> None:
    tests = list(_tests())
    assert len(tests) > 1000
    assert [f"{module}.{name}" for module, name in tests if not _asserts(module, name)] == []


def test_a_test_without_an_assertion_would_be_found() -> None:
    assert not _asserts("tests.project.test_tests_assert", "_called")
