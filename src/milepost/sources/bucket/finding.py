"""Find training runs in a bucket, by the rules of `sources.local`: a model folder, a run, or a pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import cast

from milepost.buckets import BucketPath, StoredObject, as_path
from milepost.errors import BucketError, MilepostError, SourceError
from milepost.sources.bucket.folders import bucket_layout
from milepost.sources.bucket.listing import FolderListing, objects_below, read_above
from milepost.sources.folder_inspection import is_read, looks_unfinished
from milepost.sources.formats import Layout
from milepost.sources.names import names_a_step, step_in
from milepost.sources.no_weights import why_no_weights
from milepost.sources.overrides import NO_OVERRIDES, Overrides
from milepost.sources.raw_series import RawSeries, ordered
from milepost.text.language import Phrase
from milepost.text.messages import listed, shown
from milepost.text.name_matching import is_pattern
from milepost.types.checkpoints import Checkpoint

_TRAINER_FOLDER = re.compile(r"checkpoint-[0-9]+")
_PLAIN_NAMES = ("checkpoint", "checkpoints")

_Files = Mapping[str, StoredObject]


def find_in_bucket(source: str, overrides: Overrides = NO_OVERRIDES) -> tuple[RawSeries, ...]:
    """Return the runs at an address or pattern; several only for a pattern over several runs.

    Raises:
        SourceError: nothing is there, or no checkpoint; the store refuses or does not answer.
    """
    try:
        folder = cast("BucketPath", as_path(source.rstrip("/")))
        if is_pattern(folder.key):
            return _runs_matching(folder, source, overrides)
        found = _Run(folder, objects_below(folder), overrides)
        if not found.files:
            raise SourceError(
                Phrase("there is nothing at {source}", source=shown(source)),
                "check the address, or list the bucket",
            )
        return (found.series(source),)
    except BucketError as error:
        raise SourceError(error.message, error.hint) from error
    except MilepostError as error:
        raise error if isinstance(error, SourceError) else SourceError(error.message, error.hint) from error


class _Run:
    """A folder of a bucket and all that is in it."""

    def __init__(self, folder: BucketPath, files: _Files, overrides: Overrides) -> None:
        self.folder = folder
        self.files = files
        self._overrides = overrides

    def series(self, source: str) -> RawSeries:
        """Return the folder as a training run. Raises: SourceError if there is no checkpoint in it."""
        children = self._checkpoints()
        trainer = [child for child in children if _TRAINER_FOLDER.fullmatch(child.name)]
        if trainer:
            return RawSeries(str(self.folder), self.folder.name, source, ordered(trainer))
        own = self._own_checkpoint(source)
        if own is not None:
            return own
        if children:
            return RawSeries(str(self.folder), self._name(), source, ordered(children))
        for name in _PLAIN_NAMES:
            inner = self._inner(name)
            if inner._checkpoints():
                return inner.series(source)
        raise SourceError(
            Phrase("there is no checkpoint in {source}", source=shown(source)),
            "a checkpoint is a folder with config.json and model.safetensors (or shards with their index)",
        )

    def _own_checkpoint(self, source: str) -> RawSeries | None:
        """Return the folder as one checkpoint; None without weights of its own."""
        listing = FolderListing(self.files, read_above(self.folder))
        layout = bucket_layout(listing, listing.location(self.folder), self._overrides)
        if layout is None:
            return None
        parent = self.folder.parent
        is_of_run = names_a_step(self.folder.name) and bool(parent.key)
        home = parent if is_of_run else self.folder
        checkpoint = self._checkpoint(
            listing, self.folder, layout, step_in(self.folder.name) if is_of_run else None
        )
        return RawSeries(str(home), home.name, source, (checkpoint,))

    def _checkpoints(self) -> list[Checkpoint]:
        """Return the sub-folders with weights."""
        above = {name: one for name, one in self.files.items() if "/" not in name and is_read(name)}
        found = []
        for name in sorted({name.split("/")[0] for name in self.files if "/" in name}):
            inner = self._inner(name)
            listing = FolderListing(inner.files, above)
            layout = bucket_layout(listing, listing.location(inner.folder), self._overrides)
            layout = layout or inner.without_weights()
            if layout is not None and not name.startswith("."):
                found.append(self._checkpoint(listing, inner.folder, layout, step_in(name)))
        return found

    def without_weights(self) -> Layout | None:
        """Return a layout with a problem if the folder is named like a checkpoint, else None."""
        if not names_a_step(self.folder.name):
            return None
        files = [name for name in self.files if "/" not in name]
        folders = sorted({name.split("/")[0] for name in self.files if "/" in name})
        problem = (
            "no weights in it yet" if looks_unfinished(files, folders) else why_no_weights(files, folders)
        )
        return None if problem is None else Layout("unknown", problem=problem)

    def _inner(self, name: str) -> _Run:
        cut = len(name) + 1
        files = {path[cut:]: one for path, one in self.files.items() if path.startswith(f"{name}/")}
        return _Run(self.folder / name, files, self._overrides)

    def _name(self) -> str:
        parent = self.folder.parent
        name: str = parent.name if self.folder.name in _PLAIN_NAMES and parent.name else self.folder.name
        return name

    def _checkpoint(
        self, listing: FolderListing, folder: BucketPath, layout: Layout, step: int | None
    ) -> Checkpoint:
        return Checkpoint(
            series=self.folder.name,
            name=folder.name,
            step=step,
            source=str(folder),
            format=layout.format,
            location=listing.location(folder),
            size_bytes=layout.size_bytes,
            problem=layout.problem,
            config=self._overrides.config,
        )


def _runs_matching(pattern: BucketPath, source: str, overrides: Overrides) -> tuple[RawSeries, ...]:
    """Return the runs whose folders match; several checkpoints of one run are joined later."""
    parts = pattern.key.split("/")
    fixed = list(takewhile(lambda part: not is_pattern(part), parts))
    base = cast("BucketPath", as_path("/".join([pattern.bucket, *fixed])))
    below = _Run(base, objects_below(base), overrides)
    wanted = parts[len(fixed) :]
    depth = len(wanted)
    folders = sorted({tuple(name.split("/")[:depth]) for name in below.files if name.count("/") >= depth})
    matching = [names for names in folders if all(map(fnmatchcase, names, wanted))]
    found: list[RawSeries] = []
    for names in matching:
        run = below
        for name in names:
            run = run._inner(name)
        try:
            found.append(run.series(str(run.folder)))
        except SourceError:
            continue
    if not found:
        some = listed("/".join(names) for names in folders[:5])
        raise SourceError(
            Phrase("{source} matches no checkpoint", source=shown(source)),
            Phrase("{folder} has {names}", folder=shown(base), names=some) if some else None,
        )
    return tuple(found)
