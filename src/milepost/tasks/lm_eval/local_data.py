"""Check the data of a user's task before anything is loaded: local files exist, and loaders run no code."""

from __future__ import annotations

import bz2
import glob
import gzip
import itertools
import lzma
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from milepost.errors import TaskError
from milepost.text.language import Phrase

LOADERS = ("json", "csv", "parquet", "text", "arrow", "xml")
"""`dataset_path` values that read local files as plain data. Some other loaders of datasets can run code
(pandas reads pickles in older versions), and the rest are not reviewed."""
OTHER_LOADERS = (
    "pandas", "webdataset", "imagefolder", "audiofolder", "videofolder", "pdffolder", "niftifolder",
    "meshfolder", "hdf5", "sql", "spark", "generator", "cache", "conll", "eval", "lance", "tsfile",
    "iceberg", "vortex", "mmcif", "pdb", "genbank", "fasta", "fastq", "harbor",
)  # fmt: skip
PACKAGED = (*LOADERS, *OTHER_LOADERS)
"""`dataset_path` values that are file readers and not repositories."""
PLAIN_ARGUMENTS = frozenset({
    "data_files", "data_dir", "revision", "split", "trust_remote_code", "verification_mode", "name",
    "features", "field", "encoding", "encoding_errors", "newlines_in_values", "keep_linebreaks",
    "sample_by", "columns", "batch_size", "chunksize", "block_size", "use_threads", "sep", "delimiter",
    "header", "names", "column_names", "index_col", "usecols", "skiprows", "nrows", "na_values",
    "keep_default_na", "na_filter", "quotechar", "quoting", "doublequote", "escapechar", "comment",
    "decimal", "thousands", "skip_blank_lines", "skipinitialspace", "dtype", "on_bad_lines",
    "lineterminator", "engine", "true_values", "false_values", "skipfooter", "low_memory",
})  # fmt: skip
"""`dataset_kwargs` that say how to read; the others choose file systems, caches and credentials."""
_ADDRESS = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]+):/")
_PLAIN_ADDRESSES = ("http", "https", "hf")

SMALL_BYTES = 50_000_000
MOST_TIMES, MOST_MORE_BYTES = 200, 200_000_000
"""Bounds on the unpacked bytes of a small file: a factor, and bytes in addition. Text packs to a tenth."""
MOST_ROWS_PER_BYTE = 1000
MOST_FILES = 10_000
"""Number of files in a data folder that are checked."""


def check_source(content: Mapping[str, Any], where: str, *, trusted: bool) -> None:
    """Refuse a data set that could run code or does not exist.

    Args:
        content: a task's keys, or those that a group sets in its members.
        where: the task file, for the message.
        trusted: whether the user lets task files run code.

    Raises:
        TaskError: the message says what is wrong with `dataset_path` or `dataset_kwargs`.
    """
    path, kwargs = content.get("dataset_path"), content.get("dataset_kwargs") or {}
    if not isinstance(kwargs, Mapping):
        return
    if "load_from_disk" in kwargs:
        raise TaskError(
            Phrase("{where}: dataset_kwargs has load_from_disk, which lm_eval does not know", where=where),
            "for a folder of save_to_disk write `dataset_path: arrow` and, in dataset_kwargs,"
            " `data_files: {test: FOLDER/test/*.arrow}`",
        )
    if not trusted:
        _refuse_code(path, kwargs, where)
    if isinstance(path, str) and _is_local(path) and not os.path.exists(path):
        raise TaskError(
            Phrase(
                "{where}: dataset_path {path} does not exist (looked for {place})",
                where=where,
                path=path,
                place=os.path.abspath(path),
            ),
            "correct the path; a path that is not absolute starts from the folder you are in",
        )
    if isinstance(path, str) and path not in PACKAGED and os.path.isdir(path):
        _check_file(None, path, where)
    for split, file in local_files(content):
        _check_file(split, file, where)


def local_files(content: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """Yield split and file (or pattern) of each local data file that a task names."""
    path, kwargs = content.get("dataset_path"), content.get("dataset_kwargs") or {}
    if not isinstance(path, str) or path not in PACKAGED:
        return
    data_dir = kwargs.get("data_dir")
    for split, file in _flat(None, kwargs.get("data_files")):
        if not _ADDRESS.match(file) and "::" not in file:
            yield split, os.path.join(str(data_dir), file) if data_dir else file


def with_files_found(kwargs: Any, task_file: Path) -> Any:
    """Return `dataset_kwargs` whose data files are found from every folder.

    A path that is not absolute starts from the folder you are in, as in lm_eval; where nothing is there, from
    the folder of the task file or one above it, so that a folder of tasks and data can be moved.
    """
    if not isinstance(kwargs, Mapping) or kwargs.get("data_dir") or "data_files" not in kwargs:
        return kwargs
    folders = task_file.absolute().parents

    def found(files: Any) -> Any:
        if isinstance(files, Mapping):
            return {split: found(value) for split, value in files.items()}
        if isinstance(files, list | tuple):
            return [found(value) for value in files]
        if not isinstance(files, str) or os.path.isabs(files) or _ADDRESS.match(files) or "::" in files:
            return files
        searched = folders[:1] if glob.has_magic(files) else folders  # a pattern could search the disk
        places = (files, *(str(folder / files) for folder in searched))
        return next((place for place in places if _is_there(place)), files)

    return {**kwargs, "data_files": found(kwargs["data_files"])}


def _is_there(file: str) -> bool:
    try:
        return os.path.lexists(file) or next(glob.iglob(file, recursive=True), None) is not None
    except (OSError, ValueError):
        return False


def _flat(split: str | None, files: Any) -> Iterator[tuple[str | None, str]]:
    if isinstance(files, Mapping):
        for name, value in files.items():
            yield from _flat(str(name), value)
    elif isinstance(files, list | tuple):
        for value in files:
            yield from _flat(split, value)
    elif files is not None:
        yield split, str(files)


def _refuse_code(path: Any, kwargs: Mapping[Any, Any], where: str) -> None:
    allow = "or pass --allow-task-code if you trust this file"
    if isinstance(path, str) and (path in OTHER_LOADERS or path.endswith(".py")):
        raise TaskError(
            Phrase(
                "{where}: dataset_path {path!r} may run code, or its reader is not reviewed",
                where=where,
                path=path,
            ),
            Phrase(
                "use one of {names} or a repository of the Hub, {allow}",
                names=", ".join(LOADERS),
                allow=allow,
            ),
        )
    for key in kwargs:
        if key not in PLAIN_ARGUMENTS:
            raise TaskError(
                Phrase(
                    "{where}: dataset_kwargs has {key!r}, which is not known to be harmless",
                    where=where,
                    key=str(key)[:80],
                ),
                Phrase("leave it out, {allow}", allow=allow),
            )
    addresses = [file for _, file in _flat(None, kwargs.get("data_files"))]
    addresses += [str(place) for place in (path, kwargs.get("data_dir")) if place is not None]
    for address in addresses:
        scheme = _ADDRESS.match(address)
        if "::" in address or (scheme and scheme.group(1).lower() not in _PLAIN_ADDRESSES):
            raise TaskError(
                Phrase(
                    "{where}: {address!r} is opened by a file system of another library",
                    where=where,
                    address=address[:200],
                ),
                Phrase("use a local path, an http(s) or an hf:// address, {allow}", allow=allow),
            )


def _is_local(path: str) -> bool:
    """Return whether this is a local path and not the name of a repository or a reader."""
    return path.startswith(("/", "./", "../", "~", ".\\", "..\\")) or bool(re.match(r"^[A-Za-z]:[\\/]", path))


def _check_file(split: str | None, file: str, where: str) -> None:
    of_split = f" of {split}" if split else ""
    if glob.has_magic(file) and not os.path.lexists(file):
        if next(glob.iglob(file, recursive=True), None) is None:
            raise TaskError(
                Phrase(
                    "{where}: no data file{of_split} matches {file} (looked in {place})",
                    where=where,
                    of_split=of_split,
                    file=file,
                    place=os.getcwd(),
                ),
                "correct the pattern",
            )
        return
    try:
        state = os.stat(file)
    except (OSError, ValueError) as error:
        raise TaskError(
            Phrase(
                "{where}: data file{of_split} {file} cannot be read: {error} (looked for {place})",
                where=where,
                of_split=of_split,
                file=file,
                error=getattr(error, "strerror", None) or error,
                place=os.path.abspath(file),
            ),
            "correct data_files; a path that is not absolute starts from the folder you are in, or from one"
            " above the task file",
        ) from error
    if not stat.S_ISREG(state.st_mode) and not stat.S_ISDIR(state.st_mode):
        raise TaskError(
            Phrase(
                "{where}: data file{of_split} {file} is not a regular file",
                where=where,
                of_split=of_split,
                file=file,
            ),
            "name a file of docs",
        )
    if stat.S_ISREG(state.st_mode):
        _check_growth(Path(file), state, where)
    else:
        for inner in itertools.islice(Path(file).rglob("*"), MOST_FILES):
            if inner.is_file():
                _check_growth(inner, inner.stat(), where)


def _check_growth(file: Path, state: os.stat_result, where: str) -> None:
    """Refuse a small file that would fill memory or disk when it is read."""
    size, on_disk = state.st_size, getattr(state, "st_blocks", None)
    if on_disk is not None and size > 100_000_000 and on_disk * 512 < size // 100:
        raise TaskError(
            Phrase(
                "{where}: {file} has {size:,} bytes, but nearly all of it is a sparse hole",
                where=where,
                file=file,
                size=size,
            ),
            _REPLACE,
        )
    if size > SMALL_BYTES:
        return
    most = size * MOST_TIMES + MOST_MORE_BYTES
    try:
        with open(file, "rb") as handle:
            head = handle.read(8)
        if head[:4] == b"PAR1":
            _check_rows(file, size, where)
        elif _unpacked_bytes(file, head, most) > most:
            raise TaskError(
                Phrase(
                    "{where}: {file} unpacks to more than {most_times} times its {size:,} bytes",
                    where=where,
                    file=file,
                    most_times=MOST_TIMES,
                    size=size,
                ),
                _REPLACE,
            )
    except (OSError, EOFError, ValueError, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise TaskError(
            Phrase("{where}: {file} cannot be read: {error}", where=where, file=file, error=str(error)),
            _REPLACE,
        ) from error


_REPLACE = Phrase("replace it by a file of docs")
_PACKED: tuple[tuple[bytes, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", lzma.open),
)


def _unpacked_bytes(file: Path, head: bytes, most: int) -> int:
    """Return the bytes that datasets would unpack, counted up to `most`."""
    if head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(file) as archive:
            return sum(member.file_size for member in archive.infolist())
    for magic, opened in _PACKED:
        if head.startswith(magic):
            count = 0
            with opened(file) as stream:
                while count <= most and (block := stream.read(1 << 20)):
                    count += len(block)
            return count
    return 0


def _check_rows(file: Path, size: int, where: str) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.ParquetFile(file).metadata.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise TaskError(
            Phrase("{where}: {file} cannot be read: {error}", where=where, file=file, error=str(error)),
            _REPLACE,
        ) from error
    if rows > size * MOST_ROWS_PER_BYTE:
        raise TaskError(
            Phrase(
                "{where}: {file} claims {rows:,} rows in {size:,} bytes",
                where=where,
                file=file,
                rows=rows,
                size=size,
            ),
            _REPLACE,
        )
