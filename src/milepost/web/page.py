"""A page as a value, and the description of a page from which its address and its schema are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from milepost.errors import MilepostError
from milepost.report.blocks import Block
from milepost.results.progress import Progress
from milepost.results.questions import QuestionReader
from milepost.store.united_index import FolderIndex
from milepost.web.query import Query


class NotThere(MilepostError):
    """The address names something that the results do not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One or several results folders at one moment, as pages see them."""

    index: FolderIndex
    progress: Progress
    questions: QuestionReader = field(default_factory=QuestionReader)
    baselines: Path | None = None
    """The file of published scores that `serve --baselines` was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: what people see, and the same as data."""

    title: str
    blocks: tuple[Block, ...]
    data: Mapping[str, Any]
    """The page's JSON twin; plain values without NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a page's address."""

    name: str
    about: str
    kind: Literal["string", "integer", "boolean"] = "string"
    pattern: str = ""
    """A regular expression of what it may be; empty for anything."""
    lowest: int | None = None
    highest: int | None = None
    values: tuple[str, ...] = ()
    """All that it may be; empty for anything."""
    repeats: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PageKind:
    """One of the dashboard's pages."""

    name: str
    """Its address: `/name`, and `/name.json` for its data."""
    label: str
    """Its name in the menu; empty for a page that others lead to."""
    about: str
    make: Callable[[View, Query], Page]
    data: type
    """The `TypedDict` of its data."""
    parameters: tuple[Parameter, ...] = ()
    is_live: bool = False
    """Whether the page changes with each shard that is scored, and not only with the metrics."""
