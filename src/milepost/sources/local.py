"""Find training runs on disk: a model folder, a Trainer run, a folder of model folders, or a pattern.

Rules for a folder:

- With sub-folders `checkpoint-N` it is a Trainer run, and these are its series. A final model saved beside
  them repeats the last one and is left out (name its folder as another SOURCE to have both).
- With weights of its own it is one checkpoint. If its name has a step (`step-400`), it belongs to the run in
  the folder above, so that several of them form one series.
- With weights in its sub-folders it is a run with one checkpoint each; also one level deeper in `checkpoint`.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from milepost.errors import SourceError
from milepost.files.absolute import absolute_path
from milepost.files.results_marker import MARKER
from milepost.sources.folder_inspection import looks_unfinished
from milepost.sources.formats import Layout
from milepost.sources.links import is_dangling
from milepost.sources.local_folder import inspect_folder
from milepost.sources.names import names_a_step, nearest, step_in
from milepost.sources.no_weights import is_training_state, why_no_weights
from milepost.sources.overrides import NO_OVERRIDES, Overrides
from milepost.sources.raw_series import RawSeries, ordered
from milepost.sources.trackers import last_finished
from milepost.text.language import Phrase
from milepost.text.messages import listed, shown
from milepost.text.name_matching import is_pattern
from milepost.types.checkpoints import Checkpoint

_TRAINER_FOLDER = re.compile(r"checkpoint-[0-9]+")
_PLAIN_NAMES = ("checkpoint", "checkpoints")
"""Folders in a run into which trainers such as torchtitan save."""


def find_local(source: str, overrides: Overrides = NO_OVERRIDES) -> tuple[RawSeries, ...]:
    """Return the runs at a local path or pattern; several only for a pattern over several runs.

    Raises:
        SourceError: nothing exists there, or there is no checkpoint in it.
    """
    path = _as_path(source)
    if path.is_dir():
        return (_run_in(path, source, overrides),)
    if path.exists():
        raise SourceError(
            Phrase("{source} is a file", source=shown(source)),
            Phrase("give the folder it lies in: {parent}", parent=shown(path.parent)),
        )
    if is_pattern(source):
        return _runs_matching(path, source, overrides)
    if is_dangling(path):
        raise SourceError(
            Phrase(
                "{source} is a link to {readlink}, which is not there",
                source=shown(source),
                readlink=shown(os.readlink(path)),
            )
        )
    raise SourceError(
        Phrase("{source} does not exist", source=shown(source)), _hint_for_missing(path, source)
    )


def _run_in(folder: Path, source: str, overrides: Overrides) -> RawSeries:
    children = _checkpoints_in(folder, source, overrides)
    trainer = [child for child in children if _TRAINER_FOLDER.fullmatch(child.name)]
    if trainer:
        return RawSeries(str(folder), folder.name, source, ordered(trainer))
    layout = inspect_folder(folder, overrides)
    if layout is not None:
        return _single(folder, layout, source, overrides)
    if children:
        return RawSeries(str(folder), _name_of(folder), source, ordered(children))
    for inner in (folder / name for name in _PLAIN_NAMES):
        if inner.is_dir() and _checkpoints_in(inner, source, overrides):
            return _run_in(inner, source, overrides)
    if reason := _why_no_weights(folder):
        raise SourceError(
            Phrase("there is no checkpoint in {source}: {reason}", source=shown(source), reason=reason),
            _hint_for_empty(folder),
        )
    raise SourceError(
        Phrase("there is no checkpoint in {source}", source=shown(source)), _hint_for_empty(folder)
    )


def _name_of(run: Path) -> str:
    """Return the name of a run: its folder, or the one above if the folder is only named `checkpoint`."""
    return run.parent.name if run.name in _PLAIN_NAMES and run.parent.name else run.name


def _single(folder: Path, layout: Layout, source: str, overrides: Overrides) -> RawSeries:
    if names_a_step(folder.name) and folder.parent.name:
        home = folder.parent
        checkpoint = _checkpoint(folder, layout, home.name, overrides)
    else:
        home = folder
        checkpoint = replace(_checkpoint(folder, layout, home.name, overrides), step=None)
    return RawSeries(str(home), _name_of(home), source, (checkpoint,))


def _runs_matching(pattern: Path, source: str, overrides: Overrides) -> tuple[RawSeries, ...]:
    matches = map(Path, sorted(glob.glob(str(pattern))))
    folders = [match for match in matches if match.is_dir() or is_dangling(match)]
    if not folders:
        raise SourceError(
            Phrase("{source} matches no folder", source=shown(source)), _hint_for_missing(pattern, source)
        )
    runs: list[RawSeries] = []
    members: dict[Path, list[Checkpoint]] = {}
    for folder in folders:
        inner = [] if is_dangling(folder) else _checkpoints_in(folder, source, overrides)
        if any(_TRAINER_FOLDER.fullmatch(checkpoint.name) for checkpoint in inner):
            runs.append(_run_in(folder, source, overrides))
        elif found := _member(folder, folder.parent.name, overrides):
            members.setdefault(folder.parent, []).append(found)
        elif inner:
            runs.append(RawSeries(str(folder), _name_of(folder), source, ordered(inner)))
    for home, checkpoints in members.items():
        if not all(map(_is_unfinished, checkpoints)) or not runs:
            runs.append(RawSeries(str(home), _name_of(home), source, ordered(_without_aliases(checkpoints))))
    if not runs:
        raise SourceError(
            Phrase("no folder that {source} matches has a checkpoint", source=shown(source)),
            Phrase("it matches {names}", names=listed(folder.name for folder in folders[:5])),
        )
    return tuple(runs)


def _checkpoints_in(folder: Path, source: str, overrides: Overrides = NO_OVERRIDES) -> list[Checkpoint]:
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(folder)
            if (entry.is_dir() or is_dangling(folder / entry.name)) and entry.name[0] != "."
        )
    except OSError as error:
        raise SourceError(
            Phrase("{source} cannot be read: {strerror}", source=shown(source), strerror=error.strerror)
        ) from error
    found = [_member(folder / name, folder.name, overrides) for name in names]
    missing = _tracked_but_gone(folder, names)
    known = [checkpoint for checkpoint in (*found, missing) if checkpoint is not None]
    with_weights = {checkpoint.step for checkpoint in known if not _is_unfinished(checkpoint)}
    return _without_aliases(
        [
            checkpoint
            for checkpoint in known
            if checkpoint.step not in with_weights or not is_training_state(checkpoint.problem)
        ]
    )


def _tracked_but_gone(folder: Path, names: Collection[str]) -> Checkpoint | None:
    """Return the checkpoint that the trainer's tracker names, if its folder does not exist."""
    try:
        tracked = last_finished(folder)
    except OSError:
        return None  # only the tracker cannot be read; the folders can
    if tracked is None or tracked.folder in names:
        return None
    problem = f"{tracked.file} names it, but there is no such folder"
    return _checkpoint(folder / tracked.folder, Layout("unknown", problem=problem), folder.name, NO_OVERRIDES)


def _member(folder: Path, series: str, overrides: Overrides) -> Checkpoint | None:
    """Return the folder as a checkpoint of a run; None for other folders (logs, training state)."""
    layout = inspect_folder(folder, overrides)
    if layout is None and names_a_step(folder.name):
        problem = (
            "is a link to a folder that is not there" if is_dangling(folder) else _why_no_weights(folder)
        )
        layout = None if problem is None else Layout("unknown", problem=problem)
    if layout is None:
        return None
    if folder.name.startswith(("tmp-", "tmp_")) or folder.name.endswith((".tmp", ".partial", ".incomplete")):
        layout = replace(layout, problem="still being written")
    return _checkpoint(folder, layout, series, overrides)


def _why_no_weights(folder: Path) -> str | None:
    """Return the problem of a checkpoint folder without weights; None if it looks like something else."""
    entries = list(os.scandir(folder))
    files = [entry.name for entry in entries if not entry.is_dir()]
    folders = [entry.name for entry in entries if entry.is_dir()]
    if names_a_step(folder.name) and looks_unfinished(files, folders):
        return "no weights in it yet"
    return why_no_weights(files, folders)


def _checkpoint(folder: Path, layout: Layout, series: str, overrides: Overrides) -> Checkpoint:
    return Checkpoint(
        series=series,
        name=folder.name,
        step=step_in(folder.name),
        source=str(folder),
        format=layout.format,
        location=folder,
        size_bytes=layout.size_bytes,
        problem=layout.problem,
        config=overrides.config,
    )


def _without_aliases(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Leave out links such as `latest` to another checkpoint of the list."""
    sources = [checkpoint.source for checkpoint in checkpoints]
    real = {source for source in sources if not os.path.islink(source)}
    return [
        checkpoint
        for checkpoint, source in zip(checkpoints, sources, strict=True)
        if source in real or os.path.realpath(source) not in real
    ]


def _is_unfinished(checkpoint: Checkpoint) -> bool:
    return checkpoint.format == "unknown"


def _as_path(source: str) -> Path:
    if not source.strip():
        raise SourceError("an empty SOURCE", "give a folder or a Hub address such as hf://org/name")
    try:
        path = absolute_path(Path(os.path.expanduser(source)))
        os.stat(path)
    except FileNotFoundError:
        return path
    except ValueError as error:
        raise SourceError(
            Phrase("{source!r} is not a valid path: {error}", source=shown(source), error=error), None
        ) from error
    except OSError as error:
        raise SourceError(
            Phrase("{source} cannot be opened: {strerror}", source=shown(source), strerror=error.strerror),
            None,
        ) from error
    return path


def _hint_for_missing(path: Path, source: str) -> str:
    if re.match(r"https?://huggingface\.co/|hf\.co/|[a-z0-9]+:/", source):
        return Phrase("an address on the Hub is written hf://org/name[@revision][/subfolder]")
    parent, wanted = path.parent, path.name
    while not parent.is_dir():
        parent, wanted = parent.parent, parent.name
    names = [entry.name for entry in os.scandir(parent) if entry.is_dir() and entry.name[0] != "."]
    alike = nearest(wanted, names)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source) and parent == Path.cwd():
        return Phrase("for a model on the Hub write hf://{name}", name=source)
    if not alike:
        return Phrase("{folder} has no folders", folder=shown(parent))
    return Phrase("{folder} has {names}", folder=shown(parent), names=listed(alike))


def _hint_for_empty(folder: Path) -> str:
    inner = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")
    for name in inner:
        if os.access(folder / name, os.R_OK | os.X_OK) and _checkpoints_in(folder / name, name):
            return Phrase(
                "there are checkpoints in {inner}; {folder}/* selects all of them",
                inner=shown(folder / name),
                folder=shown(folder),
            )
    if (folder / MARKER).is_file():
        return Phrase(
            "it has results of a run: `milepost show {folder}` prints them", folder=shlex.quote(shown(folder))
        )
    return Phrase(
        "a checkpoint is a folder with config.json and model.safetensors (or shards with their index)"
    )
