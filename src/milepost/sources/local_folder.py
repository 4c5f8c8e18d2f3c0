"""Inspect one folder on disk: its layout if it is a checkpoint, with the first problem of its files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from milepost.sources.folder_inspection import is_read, recognise
from milepost.sources.formats import Contents, Layout, format_named
from milepost.sources.formats.format import CONFIG, Unreadable
from milepost.sources.links import is_dangling, leads_out
from milepost.sources.overrides import NO_OVERRIDES, Overrides
from milepost.sources.regular_files import irregular, is_hollow, read_regular, too_large
from milepost.text.messages import shown


def inspect_folder(folder: Path, overrides: Overrides = NO_OVERRIDES) -> Layout | None:
    """Return the layout of a folder on disk, with its first problem; None if it has no weights.

    Headers and the index are read, but no tensor data.
    """
    if is_dangling(folder):
        return None
    try:
        return _inspect(folder, overrides)
    except OSError as error:  # no permission, or the run just deleted it
        return Layout("unknown", problem=f"cannot be read: {error.strerror}")


def find_config(folder: Path) -> Path | None:
    """Return the `config.json` of a checkpoint folder: its own, or the one in the folder above."""
    for place in (folder, folder.parent):
        if (place / CONFIG).is_file():
            return place / CONFIG
    return None


def _inspect(folder: Path, overrides: Overrides) -> Layout | None:
    entries = list(os.scandir(folder))
    contents = Contents(
        files=_sizes(entries),
        folders=[entry.name for entry in entries if entry.is_dir()],
        inside=lambda name: _sizes(os.scandir(folder / name)),
        read=lambda name, limit: _read(folder / name, limit),
    )
    layout = recognise(contents)
    if layout is None:
        return None
    files = [entry.name for entry in entries if not entry.is_dir()]
    if what := _irregular(folder, files, layout.weight_files):
        return replace(layout, problem=what)
    if layout.problem:
        return layout
    format = format_named(layout.format)
    assert format is not None
    problem = _stray_link(folder, (entry.name for entry in entries), layout.weight_files)
    if problem is None and format.needs_config and overrides.config is None:
        problem = _config_problem(folder)
    return replace(layout, problem=problem or format.check(folder, layout))


def _sizes(entries: Iterable[os.DirEntry[str]]) -> dict[str, int]:
    """Return the size of every entry except folders; 0 for pipes, dangling links and the like."""
    return {
        entry.name: entry.stat().st_size if entry.is_file() else 0 for entry in entries if not entry.is_dir()
    }


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_regular(path, limit)
    except OSError as error:
        raise Unreadable(f"{shown(path.name)} cannot be read: {error.strerror or error}") from error


def _irregular(folder: Path, names: Iterable[str], weight_files: tuple[str, ...]) -> str | None:
    """Return a problem if a file to read is a named pipe, a device, a dangling link or far too large."""
    for name in (*weight_files, *(name for name in names if is_read(name))):
        if what := irregular(folder / name):
            return f"{shown(name)} is {what}" + (", not a file" if not what.startswith("a link") else "")
    for name in weight_files:
        if is_hollow(folder / name):
            return f"{shown(name)} was never written: nearly all of it is holes"
    for name in names:
        if is_read(name) and name not in weight_files and (what := too_large(folder / name)):
            return f"{shown(name)} {what}"
    return None


def _stray_link(folder: Path, names: Iterable[str], weight_files: tuple[str, ...]) -> str | None:
    """Return a problem if a file that is read, or its folder, is a link to another place on this machine."""
    read = dict.fromkeys(part for name in weight_files for part in (name, name.partition("/")[0]))
    for name in (*read, *(name for name in names if is_read(name))):
        if leads_out(folder / name):
            return f"{shown(name)} is a link out of the folder"
    return None


def _config_problem(folder: Path) -> str | None:
    own = folder / CONFIG
    if os.path.lexists(own) and not own.is_file():
        return f"{CONFIG} is not a file"  # the one in the folder above is not used then
    config = find_config(folder)
    if config is None:
        return f"{CONFIG} is missing, in the folder and in the one above; --config FILE gives one"
    if config.stat().st_size == 0:
        return f"{CONFIG} is empty"
    if what := too_large(config):
        return f"{CONFIG} {what}"
    if leads_out(config):
        return f"{CONFIG} is a link out of the folder"
    return None
