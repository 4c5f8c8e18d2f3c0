"""Convert checkpoints of any readable format to Hugging Face folders for other programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.errors import CheckpointError, ResultsError, SourceError, TokenizerError
from milepost.files.cache import cache_folder
from milepost.sources import fetch
from milepost.sources.folder_inspection import TOKENIZER_FILES
from milepost.store.atomic_files import cannot_write
from milepost.store.processes import this_process
from milepost.text.language import Phrase
from milepost.text.messages import shown
from milepost.types.checkpoints import Checkpoint, Series

if TYPE_CHECKING:
    from milepost.weights import Bases


@dataclass(frozen=True, slots=True)
class Converted:
    """The result for one checkpoint."""

    checkpoint: Checkpoint
    folder: Path | None
    """The new folder; None where the checkpoint could not be read."""
    n_bytes: int = 0
    """Bytes of weights."""
    tokenizer: bool = False
    """True if a tokenizer was written as well."""
    problem: str | None = None


def convert(series: Series, output: Path, tokenizer: str | None = None) -> Iterator[Converted]:
    """Write each checkpoint as config, safetensors and (where it is known) tokenizer.

    A single checkpoint becomes `output` itself, each of several a folder of its name in it. A folder is
    complete or does not exist. A checkpoint that cannot be read is reported, and the others go on.

    Args:
        tokenizer: a folder or Hub address in place of the checkpoints' own.

    Raises:
        ResultsError: `output` is not empty, or cannot be written.
        TokenizerError: the given tokenizer does not exist.
    """
    from milepost.weights import Bases

    check_empty(output)
    alone = len(series.checkpoints) == 1
    bases = Bases()
    for checkpoint in series.checkpoints:
        folder = output if alone else output / checkpoint.name
        try:
            yield _converted(checkpoint, folder, tokenizer, bases)
        except (CheckpointError, SourceError) as error:
            yield Converted(checkpoint, None, problem=error.message)


def check_empty(output: Path) -> None:
    """Check that a folder is empty or does not exist, before anything is read.

    Raises:
        ResultsError: the folder is not empty, or is a file.
    """
    try:
        if not output.exists() or (output.is_dir() and not any(output.iterdir())):
            return
    except OSError as error:
        raise cannot_write(output, error) from error
    what = Phrase("is not empty") if output.is_dir() else Phrase("is a file")
    raise ResultsError(
        Phrase("{output} {what}", output=shown(output), what=what), "give a folder that does not exist yet"
    )


def _converted(checkpoint: Checkpoint, folder: Path, tokenizer: str | None, bases: Bases) -> Converted:
    from milepost.weights import read_checkpoint
    from milepost.weights.save_folder import write_checkpoint

    cache = cache_folder()
    base = bases.of(checkpoint.base, cache, repair=True) if checkpoint.base is not None else None
    place = fetch(checkpoint, cache)
    tokenizer_files = _tokenizer_files(checkpoint, tokenizer)
    weights = read_checkpoint(place, checkpoint.format, config_file=checkpoint.config, base=base)
    temporary = folder.with_name(f".{folder.name}.{this_process()}.tmp")
    try:
        temporary.mkdir(parents=True)
        write_checkpoint(weights, temporary)
        for path in (*tokenizer_files, *place.glob("generation_config.json")):
            shutil.copyfile(path, temporary / path.name)
        for path in temporary.iterdir():
            _sync(path)
        os.rename(temporary, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Converted(checkpoint, folder, weights.n_bytes, bool(tokenizer_files))


def _tokenizer_files(checkpoint: Checkpoint, given: str | None) -> list[Path]:
    """Return the files of the checkpoint's tokenizer; an empty list where it has no tokenizer."""
    from milepost.weights import tokenizer_folder

    try:
        folder = tokenizer_folder(checkpoint, given)
    except TokenizerError:
        if given is not None:
            raise
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and (path.name in TOKENIZER_FILES or path.suffix == ".tiktoken")
    ]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
