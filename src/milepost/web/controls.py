"""Choices of a page's reader: fields of a form that is sent as the query of the address."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """One of several values, or with `several` any number of them."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    """Values with their texts."""
    chosen: tuple[str, ...]
    several: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextField:
    """A text to type."""

    name: str
    label: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A thing that is on or off."""

    name: str
    label: str
    on: bool = False


Control = Select | TextField | Switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The place of a page among several."""

    number: int
    """From 1."""
    count: int
