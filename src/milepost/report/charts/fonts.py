"""Find characters that no font of this machine can draw, so that no picture has boxes unnoticed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from html import escape
from typing import Any

from milepost.report.charts.theme import FONT

_NEVER_ASSIGNED = "\U0010fffd"
"""A private-use character: no font draws it, so its picture is that of every missing character."""
_EVERYWHERE = range(0x20, 0x17F)


def missing_glyphs(texts: Iterable[str]) -> set[str]:
    """Return the characters that vl-convert's renderer would draw as an empty box on this machine."""
    return {char for char in set("".join(texts)) if ord(char) not in _EVERYWHERE and not _has_glyph(char)}


def spell_missing(spec: Any) -> tuple[Any, set[str]]:
    """Return a Vega-Lite spec with missing characters written as `[U+1F642]`, and the set of them."""
    missing = missing_glyphs(_strings(spec))
    return (_spelt(spec, missing) if missing else spec), missing


@cache
def _has_glyph(char: str) -> bool:
    return _picture(char) != _picture(_NEVER_ASSIGNED)


@cache
def _picture(char: str) -> bytes:
    import vl_convert

    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">'
        f'<text x="4" y="30" font-size="24" font-family="{FONT}">{escape(char)}</text></svg>'
    )
    picture: bytes = vl_convert.svg_to_png(svg)
    return picture


def _strings(node: Any) -> Iterable[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)


def _spelt(node: Any, missing: set[str]) -> Any:
    if isinstance(node, str):
        return "".join(f"[U+{ord(char):04X}]" if char in missing else char for char in node)
    if isinstance(node, dict):
        return {key: _spelt(value, missing) for key, value in node.items()}
    if isinstance(node, list):
        return [_spelt(value, missing) for value in node]
    return node
