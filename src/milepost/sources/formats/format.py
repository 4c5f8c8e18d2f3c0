"""What every format tells of itself, and what a folder is judged by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from milepost.sources.names import listed, some

CONFIG = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What lies in a folder, on disk or on the Hub."""

    files: Mapping[str, int]
    """Name and size in bytes of every file directly in it."""
    folders: Collection[str]
    """Names of its sub-folders."""
    inside: Callable[[str], Mapping[str, int]]
    """Name and size of every file directly in the sub-folder of this name."""
    read: Callable[[str, int], bytes]
    """Gives the bytes of a file of at most so many; raises `Unreadable`."""


class Unreadable(Exception):
    """A small file that decides what a folder is cannot be read; says so in words for a message."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder turned out to be."""

    format: str
    weight_files: tuple[str, ...] = ()
    """The files that make the model what it is, by path in the folder; without an index of shards."""
    size_bytes: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way in which trainers write checkpoints."""

    name: str
    """As `Checkpoint.format` and `milepost list` have it."""
    recognise: Callable[[Contents], Layout | None]
    """What a folder of this format holds and lacks, from names and sizes; None where it is of another."""
    check: Callable[[Path, Layout], str | None]
    """On disk: what the heads and ends of the files say is wrong; reads no tensor data."""
    needs_config: bool = True
    """Whether it takes a config.json, beside the weights, above them or given by the user."""
    describing: tuple[str, ...] = ()
    """Shell patterns of the files that are fetched from the Hub with the weights, besides config.json."""


def complete(files: Mapping[str, int], format: str, weights: tuple[str, ...]) -> Layout:
    """A layout of these weight files, with a problem where one is missing or empty."""
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
    """Whether a name from inside a file stays in its folder when it is used as a file's name."""
    return bool(name) and not set(name) & {"/", "\\", "\0"} and name not in {".", ".."}
