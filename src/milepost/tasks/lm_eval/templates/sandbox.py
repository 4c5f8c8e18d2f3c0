"""A sandbox with the features of lm_eval's Jinja environment.

Imports only Jinja, so that the rendering process (`worker`) starts quickly.
Source: lm_eval/utils.py (`env`); a test compares the two.
"""

from __future__ import annotations

import re
from typing import Any

import jinja2
from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

MOST_CHARACTERS = 20_000_000
"""In a rendered text: a hundred times the longest prompt that a model can read."""
MOST_TEMPLATE_CHARACTERS = 200_000
MOST_BITS = 10_000
"""In an integer that a template computes."""

LOADING = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class TooMuch(SecurityError):
    """A template needs more memory or time than any prompt."""


class BoundedSandbox(SandboxedEnvironment):
    """Jinja's sandbox with bounds on operators that could fill the memory."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            _check_product(left, right)
        elif operator == "**":
            _check_power(left, right)
        elif operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, type(left)):
            _check_length(len(left) + len(right))
        return super().call_binop(context, operator, left, right)


def make_sandbox() -> BoundedSandbox:
    """Return a sandbox with lm_eval's settings and filters."""
    sandbox = BoundedSandbox(undefined=StrictUndefined, keep_trailing_newline=True)
    sandbox.filters["regex_replace"] = regex_replace
    return sandbox


def regex_replace(string: str, pattern: str, repl: str, count: int = 0) -> str:
    """Apply lm_eval's filter of this name."""
    return re.sub(pattern, repl, string, count=count)


def parse(sandbox: BoundedSandbox, text: str) -> nodes.Template:
    """Return the template's syntax tree without compiling or evaluating it.

    Raises:
        jinja2.TemplateSyntaxError: the text is not a template.
        SecurityError: the template would read another file, accesses an attribute `__...__`, or is too long.
    """
    if len(text) > MOST_TEMPLATE_CHARACTERS:
        raise TooMuch(f"a template of {len(text):,} characters")
    try:
        tree = sandbox.parse(text)
        loading = next(tree.find_all(LOADING), None)
    except RecursionError as error:
        raise jinja2.TemplateSyntaxError("nested too deeply", 1) from error
    if loading is not None:
        raise SecurityError(f"`{type(loading).__name__.lower()}` would read another file")
    for access in tree.find_all(nodes.Getattr):
        if access.attr.startswith("__") and access.attr.endswith("__"):
            raise SecurityError(f"access to attribute {access.attr!r} is unsafe")
    return tree


def render_bounded(template: jinja2.Template, doc: dict[str, Any]) -> str:
    """Return `template.render(**doc)`; stops when the text is too long.

    Raises:
        TooMuch: see `MOST_CHARACTERS`.
    """
    pieces: list[str] = []
    length = 0
    context = template.new_context(doc)
    try:
        for piece in template.root_render_func(context):
            length += len(piece)
            _check_length(length)
            pieces.append(piece)
    except Exception:
        template.environment.handle_exception()
    return "".join(pieces)


def _check_product(left: Any, right: Any) -> None:
    for many, times in ((left, right), (right, left)):
        if isinstance(many, str | bytes | list | tuple) and isinstance(times, int):
            _check_length(len(many) * times)
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and right > 0:
        _check_bits(left.bit_length() * right)


def _check_length(length: int) -> None:
    if length > MOST_CHARACTERS:
        raise TooMuch(f"a text or list of more than {MOST_CHARACTERS:,} characters or items")


def _check_bits(bits: int) -> None:
    if bits > MOST_BITS:
        raise TooMuch(f"an integer of more than {MOST_BITS:,} bits")


def is_simple(tree: nodes.Template) -> bool:
    """Return whether time and memory grow at most in proportion to the doc, judged by the syntax.

    Such templates, nearly all in practice, are rendered in this process.
    """
    return all(_is_simple(node) for node in tree.find_all(nodes.Node)) and not any(
        next(inner.find_all(nodes.For), None)
        for loop in tree.find_all(nodes.For)
        for inner in (*loop.body, *loop.else_, loop.iter)
    )


_LONGEST_ARGUMENT = 10
_PLAIN = (
    nodes.Output, nodes.TemplateData, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.If,
    nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.Not, nodes.And, nodes.Or, nodes.Concat, nodes.Add,
    nodes.Sub, nodes.Neg, nodes.Pos, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Name, nodes.Test,
)  # fmt: skip
_FILTERS = {
    "abs", "capitalize", "count", "d", "default", "first", "float", "int", "last", "length", "list", "lower",
    "max", "min", "reverse", "string", "title", "trim", "upper", "wordcount",
}  # fmt: skip
_FILTERS_BY_ARGUMENT = {"join", "replace"}
"""Filters whose result depends on the length of their arguments."""
_METHODS = {
    "strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "split", "rsplit", "startswith",
    "endswith", "get", "items", "keys", "values", "index", "find", "count",
}  # fmt: skip


def _is_simple(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Filter):
        if node.node is None or node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            return False
        return node.name in _FILTERS or (
            node.name in _FILTERS_BY_ARGUMENT
            and all(
                isinstance(value, nodes.Const) and len(str(value.value)) <= _LONGEST_ARGUMENT
                for value in node.args
            )
        )
    if isinstance(node, nodes.Call):
        return (
            isinstance(node.node, nodes.Getattr)
            and node.node.attr in _METHODS
            and node.dyn_args is None
            and node.dyn_kwargs is None
        )
    if isinstance(node, nodes.For):
        return not node.recursive
    return isinstance(node, _PLAIN)
