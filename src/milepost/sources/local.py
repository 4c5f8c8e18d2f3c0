"""Training runs on disk: one model folder, a Trainer run, a folder of model folders, a pattern of them.

Which of them a folder is:

- it has sub-folders `checkpoint-N`: a Trainer run. These are the series; a final model saved beside them is
  the last of them once more, and left out (name that folder's files by a SOURCE of their own to have both).
- else it has weights itself: one checkpoint. Where its name tells a step (`step-400`), it belongs to the run
  in the folder above, so that several given one by one form one series.
- else its sub-folders have weights: a run, one checkpoint each; or they lie one level deeper in `checkpoint`.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from milepost.errors import SourceError
from milepost.name_matching import is_pattern
from milepost.sources.folder_inspection import is_read, looks_unfinished, recognise
from milepost.sources.formats import Contents, Layout, format_named
from milepost.sources.formats.format import CONFIG, Unreadable
from milepost.sources.links import is_dangling, leads_out
from milepost.sources.names import listed, names_a_step, nearest, shown, step_in
from milepost.sources.no_weights import is_training_state, why_no_weights
from milepost.sources.overrides import NOTHING, Given
from milepost.sources.raw_series import Run, ordered
from milepost.sources.regular_files import irregular, is_hollow, read_regular, too_large
from milepost.sources.trackers import last_finished
from milepost.types import Checkpoint

_TRAINER_FOLDER = re.compile(r"checkpoint-[0-9]+")
_PLAIN_NAMES = ("checkpoint", "checkpoints")
"""Folders within a run that trainers such as torchtitan save into."""


def find_local(source: str, given: Given = NOTHING) -> tuple[Run, ...]:
    """The runs a local path or pattern stands for; more than one only for a pattern over several runs.

    Raises:
        SourceError: there is nothing there, or no checkpoint in it.
    """
    path = _as_path(source)
    if path.is_dir():
        return (_run_in(path, source, given),)
    if path.exists():
        raise SourceError(
            f"{shown(source)} is a file", f"give the folder it lies in: {shown(str(path.parent))}"
        )
    if is_pattern(source):
        return _runs_matching(path, source, given)
    if is_dangling(path):
        raise SourceError(f"{shown(source)} is a link to {shown(os.readlink(path))}, which is not there")
    raise SourceError(f"{shown(source)} does not exist", _hint_for_missing(path, source))


def inspect_folder(folder: Path, given: Given = NOTHING) -> Layout | None:
    """What a folder on disk holds, with the first thing that keeps it from being evaluated.

    None where nothing in it looks like weights. Reads headers and the index, no tensor data.
    """
    if is_dangling(folder):
        return None
    try:
        return _inspect(folder, given)
    except OSError as error:  # no permission, or the run deleted it while we looked
        return Layout("unknown", problem=f"cannot be read: {error.strerror}")


def _inspect(folder: Path, given: Given) -> Layout | None:
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
    if problem is None and format.needs_config and given.config is None:
        problem = _config_problem(folder)
    return replace(layout, problem=problem or format.check(folder, layout))


def _sizes(entries: Iterable[os.DirEntry[str]]) -> dict[str, int]:
    """Name and size of everything but folders; of what is no file (a pipe, a link to nothing), 0."""
    return {
        entry.name: entry.stat().st_size if entry.is_file() else 0 for entry in entries if not entry.is_dir()
    }


def _irregular(folder: Path, names: Iterable[str], weight_files: tuple[str, ...]) -> str | None:
    """A file we would read that is a named pipe, a device, a link to nothing or far too large."""
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


def find_config(folder: Path) -> Path | None:
    """The `config.json` that belongs to a checkpoint folder: its own, else the one in the folder above."""
    for place in (folder, folder.parent):
        if (place / CONFIG).is_file():
            return place / CONFIG
    return None


def _run_in(folder: Path, source: str, given: Given) -> Run:
    children = _checkpoints_in(folder, source, given)
    trainer = [one for one in children if _TRAINER_FOLDER.fullmatch(one.name)]
    if trainer:
        return Run(str(folder), folder.name, source, ordered(trainer))
    layout = inspect_folder(folder, given)
    if layout is not None:
        return _single(folder, layout, source, given)
    if children:
        return Run(str(folder), _name_of(folder), source, ordered(children))
    for inner in (folder / name for name in _PLAIN_NAMES):
        if inner.is_dir() and _checkpoints_in(inner, source, given):
            return _run_in(inner, source, given)
    if reason := _why_no_weights(folder):
        raise SourceError(f"there is no checkpoint in {shown(source)}: {reason}", _hint_for_empty(folder))
    raise SourceError(f"there is no checkpoint in {shown(source)}", _hint_for_empty(folder))


def _name_of(run: Path) -> str:
    """What a run is called: its folder, or the one above where that says no more than `checkpoint`."""
    return run.parent.name if run.name in _PLAIN_NAMES and run.parent.name else run.name


def _single(folder: Path, layout: Layout, source: str, given: Given) -> Run:
    if names_a_step(folder.name) and folder.parent.name:
        home = folder.parent
        one = _checkpoint(folder, layout, home.name, given)
    else:
        home = folder
        one = replace(_checkpoint(folder, layout, home.name, given), step=None)
    return Run(str(home), _name_of(home), source, (one,))


def _runs_matching(pattern: Path, source: str, given: Given) -> tuple[Run, ...]:
    matches = map(Path, sorted(glob.glob(str(pattern))))
    folders = [match for match in matches if match.is_dir() or is_dangling(match)]
    if not folders:
        raise SourceError(f"{shown(source)} matches no folder", _hint_for_missing(pattern, source))
    runs: list[Run] = []
    members: dict[Path, list[Checkpoint]] = {}
    for folder in folders:
        inner = [] if is_dangling(folder) else _checkpoints_in(folder, source, given)
        if any(_TRAINER_FOLDER.fullmatch(one.name) for one in inner):
            runs.append(_run_in(folder, source, given))
        elif found := _member(folder, folder.parent.name, given):
            members.setdefault(folder.parent, []).append(found)
        elif inner:
            runs.append(Run(str(folder), _name_of(folder), source, ordered(inner)))
    for home, checkpoints in members.items():
        if any(not _is_unfinished(one) for one in checkpoints) or not runs:
            runs.append(Run(str(home), _name_of(home), source, ordered(_without_aliases(checkpoints))))
    if not runs:
        raise SourceError(
            f"no folder that {shown(source)} matches holds a checkpoint",
            f"it matches {listed(folder.name for folder in folders[:5])}",
        )
    return tuple(runs)


def _checkpoints_in(folder: Path, source: str, given: Given = NOTHING) -> list[Checkpoint]:
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(folder)
            if (entry.is_dir() or is_dangling(folder / entry.name)) and entry.name[0] != "."
        )
    except OSError as error:
        raise SourceError(f"{shown(source)} cannot be read: {error.strerror}") from error
    found = [_member(folder / name, folder.name, given) for name in names]
    missing = _tracked_but_gone(folder, names)
    every = [one for one in (*found, missing) if one is not None]
    with_weights = {one.step for one in every if not _is_unfinished(one)}
    return _without_aliases(
        [one for one in every if one.step not in with_weights or not is_training_state(one.problem)]
    )


def _tracked_but_gone(folder: Path, names: Collection[str]) -> Checkpoint | None:
    """The checkpoint that the trainer says it wrote last, where there is no such folder."""
    try:
        tracked = last_finished(folder)
    except OSError:
        return None  # the tracker alone cannot be read; what is there can be judged without it
    if tracked is None or tracked.folder in names:
        return None
    problem = f"{tracked.file} names it, but there is no such folder"
    return _checkpoint(folder / tracked.folder, Layout("unknown", problem=problem), folder.name, NOTHING)


def _member(folder: Path, series: str, given: Given) -> Checkpoint | None:
    """The folder as a checkpoint of a run; None where it is something else (logs, training state)."""
    layout = inspect_folder(folder, given)
    if layout is None and names_a_step(folder.name):
        problem = (
            "is a link to a folder that is not there" if is_dangling(folder) else _why_no_weights(folder)
        )
        layout = None if problem is None else Layout("unknown", problem=problem)
    if layout is None:
        return None
    if folder.name.startswith(("tmp-", "tmp_")) or folder.name.endswith((".tmp", ".partial", ".incomplete")):
        layout = replace(layout, problem="still being written")
    return _checkpoint(folder, layout, series, given)


def _why_no_weights(folder: Path) -> str | None:
    """What a folder without weights lacks; None where it looks like something else than a checkpoint."""
    entries = list(os.scandir(folder))
    files = [entry.name for entry in entries if not entry.is_dir()]
    folders = [entry.name for entry in entries if entry.is_dir()]
    if names_a_step(folder.name) and looks_unfinished(files, folders):
        return "no weights in it yet"
    return why_no_weights(files, folders)


def _checkpoint(folder: Path, layout: Layout, series: str, given: Given) -> Checkpoint:
    return Checkpoint(
        series=series,
        name=folder.name,
        step=step_in(folder.name),
        source=str(folder),
        format=layout.format,
        location=folder,
        size_bytes=layout.size_bytes,
        problem=layout.problem,
        config=given.config,
    )


def _without_aliases(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Leave out links such as `latest` that lead to another checkpoint of the same list."""
    real = {one.source for one in checkpoints if not os.path.islink(one.source)}
    return [one for one in checkpoints if one.source in real or os.path.realpath(one.source) not in real]


def _is_unfinished(checkpoint: Checkpoint) -> bool:
    return checkpoint.format == "unknown"


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_regular(path, limit)
    except OSError as error:
        raise Unreadable(f"{shown(path.name)} cannot be read: {error.strerror or error}") from error


def _config_problem(folder: Path) -> str | None:
    own = folder / CONFIG
    if os.path.lexists(own) and not own.is_file():
        return f"{CONFIG} is no file"  # and the one in the folder above is not meant
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


def _stray_link(folder: Path, names: Iterable[str], weight_files: tuple[str, ...]) -> str | None:
    """A file we would read, or a folder it lies in, that is a link to somewhere else on this machine."""
    read = dict.fromkeys(part for name in weight_files for part in (name, name.partition("/")[0]))
    for name in (*read, *(name for name in names if is_read(name))):
        if leads_out(folder / name):
            return f"{shown(name)} is a link out of the folder"
    return None


def _as_path(source: str) -> Path:
    if not source.strip():
        raise SourceError("an empty SOURCE", "give a folder or a Hub address such as hf://org/name")
    try:
        path = Path(os.path.abspath(os.path.expanduser(source)))
        os.stat(path)
    except FileNotFoundError:
        return path
    except ValueError as error:
        raise SourceError(f"{shown(source)!r} is not a valid path: {error}", None) from error
    except OSError as error:
        raise SourceError(f"{shown(source)} cannot be opened: {error.strerror}", None) from error
    return path


def _hint_for_missing(path: Path, source: str) -> str:
    if re.match(r"https?://huggingface\.co/|hf\.co/|[a-z0-9]+:/", source):
        return "an address on the Hub is written hf://org/name[@revision][/subfolder]"
    there = path.parent
    wanted = path.name
    while not there.is_dir():
        there, wanted = there.parent, there.name
    names = [entry.name for entry in os.scandir(there) if entry.is_dir() and entry.name[0] != "."]
    alike = nearest(wanted, names)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source) and there == Path.cwd():
        return f"for a model on the Hub write hf://{source}"
    return (
        f"in {shown(str(there))} there is {listed(alike)}" if alike else f"{shown(str(there))} has no folders"
    )


def _hint_for_empty(folder: Path) -> str:
    inner = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")
    for name in inner:
        if os.access(folder / name, os.R_OK | os.X_OK) and _checkpoints_in(folder / name, name):
            there = shown(str(folder))
            return f"there are some in {there}/{shown(name)}; a pattern such as {there}/* takes all"
    return "a checkpoint is a folder with config.json and model.safetensors (or shards with their index)"
