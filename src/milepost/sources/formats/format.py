"""Interface of the checkpoint formats: the contents of a folder, a format, and the layout it recognises."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from milepost.text.messages import listed, some

CONFIG = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The files of a folder, on disk or on the Hub."""

    files: Mapping[str, int]
    """Size in bytes of every file directly in the folder, by name."""
    folders: Collection[str]
    """Names of the sub-folders."""
    inside: Callable[[str], Mapping[str, int]]
    """Returns the sizes of the files in a sub-folder, by name."""
    read: Callable[[str, int], bytes]
    """Returns the bytes of a file of at most so many bytes; raises `Unreadable`."""


class Unreadable(Exception):
    """A small file that decides about a folder cannot be read; the text goes into a message."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder as one format recognised it."""

    format: str
    weight_files: tuple[str, ...] = ()
    """The weight files by path in the folder, without the index of shards."""
    size_bytes: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A way in which trainers save checkpoints."""

    name: str
    """The name in `Checkpoint.format` and `milepost list`."""
    folder: str
    """The format's folder, here and in `milepost.weights.formats`, which has its reader."""
    recognise: Callable[[Contents], Layout | None]
    """Returns the layout of a folder, from names and sizes; None for folders of other formats."""
    check: Callable[[Path, Layout], str | None]
    """Returns the first problem of the files on disk, from their beginning and end; reads no tensor data."""
    needs_config: bool = True
    """True if a config.json is needed: beside the weights, in the folder above, or from the user."""
    describing: tuple[str, ...] = ()
    """Shell patterns of the files, besides config.json, that are downloaded with the weights."""


def complete(files: Mapping[str, int], format: str, weights: tuple[str, ...]) -> Layout:
    """Return the layout of these weight files, with a problem if one is missing or empty."""
    missing = [name for name in weights if name not in files]
    empty = [name for name in weights if files.get(name) == 0]
    size = sum(files.get(name, 0) for name in weights)
    problem = None
    if missing:
        problem = f"missing: {some(missing)}"
    elif empty:
        problem = f"{listed(empty[:1])} is empty"
    return Layout(format, weights, size, problem)


def is_plain(name: str) -> bool:
    """Return True if a name from inside a file is a file name that stays in its folder."""
    return bool(name) and not set(name) & {"/", "\\", "\0"} and name not in {".", ".."}
