"""Create, check and open a results folder, and write its tables; `layout` says where each record lies."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.buckets import as_path, in_bucket
from milepost.errors import ResultsError
from milepost.files.absolute import absolute_path
from milepost.files.arrow import as_array, as_table, text_lists_column
from milepost.files.results_marker import MARKER
from milepost.store import file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import cannot_write, read_json, write_atomically, write_json
from milepost.store.confinement import confine, spelled
from milepost.store.layout import Layout
from milepost.store.processes import this_process
from milepost.store.records import RunRecord, write_record
from milepost.store.tables import read_table, table_bytes, write_table
from milepost.text.language import Phrase

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from milepost.types.shard_answers import ShardAnswers

FORMAT_VERSION = 1
DOCS_TOGETHER = 2_000
"""Docs of a task that lie together in its record, so that one of them is found without reading all."""
STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Errors of a disk that is full, read-only or broken."""


@dataclass(frozen=True, slots=True)
class ResultsFolder(Layout):
    """A results folder; create it with `ResultsFolder.create`, open it with `open_folder`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", spelled(as_path(self.path)))
        confine(self.path)

    @classmethod
    def create(cls, path: Path) -> ResultsFolder:
        """Make the folder, or take an existing one that is empty or already a results folder.

        Raises:
            ResultsError: it cannot be written, or holds something else.
        """
        path = spelled(as_path(path))
        check_writable(path)
        marker = path / MARKER
        try:
            confine(path)
            inside.make_folder(path)
            if not file_state.exists(marker):
                write_json(marker, {"format": "milepost-results", "version": FORMAT_VERSION})
        except OSError as error:
            raise cannot_write(path, error) from error
        return open_folder(path)

    def write_scores(self, path: Path, answers: ShardAnswers, made: Mapping[str, Any] | None = None) -> None:
        """Write one shard; `made` says how the scores were computed, and when.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        write_atomically(path, self.scores_bytes(path, answers, made))

    def scores_bytes(self, path: Path, answers: ShardAnswers, made: Mapping[str, Any] | None = None) -> bytes:
        """Return the file that `write_scores` writes: a row per request, in the order of the plan."""
        columns: dict[str, Any] = {"loglikelihood": answers.loglikelihood, "greedy": answers.greedy}
        if answers.generated is not None:
            columns["generated"] = text_lists_column(answers.generated)
        return table_bytes(path, as_table(columns), made)

    def read_scores(self, path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return log-likelihood (nats; NaN for a request for a text) and greedy flag of each request.

        Raises:
            ResultsError: the file is damaged.
        """
        table = read_table(path)
        return as_array(table["loglikelihood"]), as_array(table["greedy"])

    def read_generated(self, path: Path) -> list[list[str] | None]:
        """Return the texts of each request of a shard; None if it was scored, or the model gave no numbers.

        Raises:
            ResultsError: the file is damaged.
        """
        table = read_table(path)
        if "generated" not in table.column_names:
            return [None] * len(table)
        found: list[list[str] | None] = table["generated"].to_pylist()
        return found

    def write_docs(self, docs_id: str, table: pa.Table) -> None:
        """Write docs and prompts of one task."""
        write_table(self.docs_path(docs_id), table, group=DOCS_TOGETHER)

    def write_doc_metrics(self, path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write the metrics of each doc of one task at one checkpoint; see `columns`."""
        write_table(path, as_table(columns))

    def run_paths(self) -> list[Path]:
        """Return the records of runs, a file per run and plan, the oldest first.

        The number at the start of their names decides, not the clock, which may have been set back or be
        another machine's. Records of the first versions have no number and come first. Two that were written
        at the same moment share a number; all readers order them alike.

        Raises:
            ResultsError: a link leads out of the folder.
        """
        found = listing.files(self.runs_folder, "*.json")
        return sorted(found, key=lambda path: (_number_of_run(path), path.name))

    def write_run(self, record: RunRecord) -> None:
        """Write the record of a run, with the time; the newest run decides what `show` shows."""
        now = time.time()
        moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}"
        number = 1 + max(map(_number_of_run, self.run_paths()), default=0)
        name = f"{number:08d}-{moment}-{this_process()}"
        write_record(self.runs_folder / f"{name}.json", replace(record, time=now))


def _number_of_run(path: Path) -> int:
    number, dash, _ = path.name.partition("-")
    return int(number) if dash and number.isdecimal() and len(number) < 15 else 0


def is_results_folder(path: Path) -> bool:
    """Return whether there is a results folder at `path`."""
    path = as_path(path)
    return file_state.exists(path / MARKER) if in_bucket(path) else (path / MARKER).is_file()


def check_writable(path: Path) -> None:
    """Refuse a place where no results folder can be made, by making a folder and removing it again.

    Raises:
        ResultsError: the place is wrong: a file, a folder of other things, one that may not be written.
        StorageError: the command is right, but the disk is full or read-only, or results that are there
            already may not be written any more.
    """
    if in_bucket(path):
        _check_bucket(as_path(path))
        return
    if path.exists() and not path.is_dir():
        raise ResultsError(Phrase("{path} is a file", path=path), "choose a folder for --output-path")
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise ResultsError(
            Phrase("cannot write to {path}: {there} is a file", path=path, there=there),
            "choose another --output-path",
        )
    has_results = (path / MARKER).exists()
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".milepost-", dir=absolute_path(there)))
    except OSError as error:
        if has_results or error.errno in STORAGE_ERRORS:
            raise cannot_write(path, error) from error
        raise ResultsError(
            Phrase(
                "cannot write to {path}: {there} is not writable ({strerror})",
                path=path,
                there=there,
                strerror=error.strerror,
            ),
            "choose another --output-path",
        ) from error
    if path.is_dir() and not has_results and _holds_other_things(path):
        raise ResultsError(
            Phrase("{path} is not empty and not a results folder", path=path),
            "choose a new folder for --output-path",
        )


def _check_bucket(path: Path) -> None:
    """Refuse a place in a bucket as `check_writable` does, by writing an object there and removing it again.

    The probe is put twice on the condition that there is none. A store that takes the second one too ignores
    the condition, and processes could not share work there.
    """
    there = [folder.name for folder in listing.folders(path)]
    there += listing.names(path)  # asked second: the marker is the first object of a results folder
    if MARKER not in there and not all(name.startswith(".milepost") for name in there):
        raise ResultsError(
            Phrase("{path} is not empty and not a results folder", path=path),
            "choose a new folder for --output-path",
        )
    probe = path / f".milepost-{this_process()}"
    inside.remove(probe)
    try:
        inside.create_with(probe, b"1")
        inside.create_with(probe, b"2")
    except FileExistsError:
        return
    finally:
        inside.remove(probe)
    raise ResultsError(
        Phrase("{path}: this store ignores the condition of a put (If-None-Match)", path=path),
        "processes cannot share work there; choose another store, or a local folder, for --output-path",
    )


def _holds_other_things(path: Path) -> bool:
    """Return whether there are other files; another process may be making a results folder right now."""
    foreign = [entry for entry in path.iterdir() if not entry.name.startswith(".milepost")]
    # The marker is the first file of a results folder: files that were seen without it are others.
    return bool(foreign) and not (path / MARKER).exists()


def open_folder(path: Path) -> ResultsFolder:
    """Open an existing results folder.

    Raises:
        ResultsError: it does not exist, is not a results folder, or was written by a newer Milepost.
    """
    path = spelled(as_path(path))
    marker = path / MARKER
    confine(path)
    inside.look_again()
    if not is_results_folder(path):
        there = file_state.folder_exists(path) if in_bucket(path) else path.exists()
        what = (
            Phrase("is not a results folder (no milepost.json in it)") if there else Phrase("does not exist")
        )
        raise ResultsError(
            Phrase("{path} {what}", path=path, what=what),
            "RESULTS is the --output-path of an earlier `milepost run`",
        )
    version = read_json(marker).get("version")
    if version != FORMAT_VERSION:
        raise ResultsError(
            Phrase("{path} is of results format {version}", path=path, version=version),
            "update milepost to read it",
        )
    return ResultsFolder(path)
