"""Every test asserts, itself or through a helper: one that only runs code passes whatever that code does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CHECKS = ("pytest.raises", "pytest.warns", "pytest.fail")
"""Calls that fail a test; so do those named `assert_...`, and Playwright's `wait_for` at its time limit."""

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
    called = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    if any(_is_check(ast.unparse(one)) for one in called):
        return True
    helpers = {one.id for one in called if isinstance(one, ast.Name)}
    return any(_asserts(module, one, seen | {(module, name)}) for one in helpers)


def _is_check(called: str) -> bool:
    name = called.rpartition(".")[2]
    return called in CHECKS or name == "wait_for" or name.startswith("assert_")


def _tests() -> Iterator[tuple[str, str]]:
    for path in sorted(TESTS.rglob("test_*.py")):
        module = ".".join(path.relative_to(TESTS.parent).with_suffix("").parts)
        for name in _functions(module):
            if name.startswith("test_"):
                yield module, name


def test_every_test_asserts() -> None:
    tests = list(_tests())
    assert len(tests) > 1000
    without = [f"{module}.{name}" for module, name in tests if not _asserts(module, name)]
    assert without == []


def test_a_test_without_an_assertion_would_be_found() -> None:
    assert not _asserts("tests.project.test_tests_assert", "_is_check")
