"""Remember what a run read of a series, for as long as the files that it was read from are unchanged.

Reading a config or a tokenizer as transformers does takes transformers and torch, seconds of imports. A run
that finds everything scored needs neither. Remembered are series of Hugging Face folders in which every
complete checkpoint fits the others; any other series is read each time.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError, MilepostError, TokenizerError
from milepost.files.cache import cache_folder, write_cache_file
from milepost.run.config import EvalConfig
from milepost.run.series.chat import choose_chat_template
from milepost.run.series.prepared_series import PreparedSeries
from milepost.run.software_versions import installed_version
from milepost.sources import fetch_config, tokenizer_location
from milepost.sources.digests import sha256_of
from milepost.sources.formats import BIN, SAFETENSORS
from milepost.sources.local_folder import find_config
from milepost.sources.regular_files import too_large
from milepost.text.language import Phrase
from milepost.types.checkpoints import Checkpoint, Series
from milepost.types.generation import GenerationDefaults
from milepost.version import __version__

_FORM = 2
_READERS = ("transformers", "tokenizers")
_DESCRIBES = (".json", ".jinja", ".model", ".tiktoken", ".txt")
"""Endings of the names of files that a tokenizer or a config is read from, and no weights."""


def recall_series(series: Series, config: EvalConfig) -> PreparedSeries | None:
    """Return what an earlier run read of exactly these files; None where no run did."""
    note = _note(series, config)
    if note is None:
        return None
    try:
        known: Any = json.loads(note.read_bytes())
        folder = Path(known["tokenizer_folder"])
        usable = _usable(series)
        return PreparedSeries(
            name=series.name,
            checkpoints=usable,
            refused=tuple(
                (checkpoint, checkpoint.problem)
                for checkpoint in series.checkpoints
                if checkpoint.problem is not None
            ),
            tokenizer_folder=folder,
            load_tokenizer=_loader(folder, config.tasks.apply_chat_template),
            tokenizer_id=known["tokenizer_id"],
            max_length=known["max_length"],
            vocab_size=known["vocab_size"],
            generations={
                checkpoint: GenerationDefaults(
                    stop_tokens=tuple(stored["stop_tokens"]),
                    options=tuple((name, value) for name, value in stored["options"]),
                )
                for checkpoint, stored in zip(usable, known["generations"], strict=True)
            },
            dtypes=dict(zip(usable, known["dtypes"], strict=True)),
        )
    except (OSError, ValueError, KeyError):
        return None  # never read, or cut short


def remember_series(series: Series, config: EvalConfig, read: PreparedSeries) -> None:
    """Keep what was read of a series, for `recall_series`."""
    if read.checkpoints != _usable(series) or (note := _note(series, config)) is None:
        return
    known = {
        "tokenizer_folder": str(read.tokenizer_folder),
        "tokenizer_id": read.tokenizer_id,
        "max_length": read.max_length,
        "vocab_size": read.vocab_size,
        "generations": [asdict(read.generations[checkpoint]) for checkpoint in read.checkpoints],
        "dtypes": [read.dtypes[checkpoint] for checkpoint in read.checkpoints],
    }
    write_cache_file(note, json.dumps(known).encode())


def _loader(folder: Path, chat_template: bool | str) -> Callable[[], Any]:
    @functools.cache
    def load() -> Any:
        from milepost.weights import load_tokenizer

        tokenizer = load_tokenizer(folder)
        choose_chat_template(tokenizer, chat_template)
        return tokenizer

    return load


def _usable(series: Series) -> tuple[Checkpoint, ...]:
    return tuple(checkpoint for checkpoint in series.checkpoints if checkpoint.problem is None)


def _note(series: Series, config: EvalConfig) -> Path | None:
    """Return the file of a series, named by the content of every file that is read and by their readers."""
    inputs: list[Any] = [_FORM, [__version__, *(installed_version(name) for name in _READERS)]]
    inputs.append(config.tasks.apply_chat_template)
    plain = {SAFETENSORS.name, BIN.name}
    try:
        for checkpoint in _usable(series):
            if checkpoint.base is not None or checkpoint.format not in plain:
                return None
            inputs.append([checkpoint.name, *_files_of(checkpoint, config.tokenizer)])
    except (MilepostError, OSError):
        return None  # reading the series raises the error again
    digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    return cache_folder() / "series" / f"{digest[:32]}.json"


def _files_of(checkpoint: Checkpoint, override: str | None) -> Iterator[list[str]]:
    """Yield name and SHA-256 of the files of a checkpoint's config and tokenizer."""
    folder = fetch_config(checkpoint)
    config = checkpoint.config or find_config(folder)
    if config is not None:
        yield from _digests([config, *folder.glob("generation_config.json")])
    try:
        place = tokenizer_location(checkpoint, override)
    except TokenizerError:
        if override is not None:
            raise
        return  # another checkpoint of the series may have one for all
    yield [str(place)]
    yield from _digests([*place.glob("*"), *place.glob("additional_chat_templates/*")])


def _digests(files: list[Path]) -> Iterator[list[str]]:
    for path in sorted(files):
        if path.suffix in _DESCRIBES and path.is_file():
            if what := too_large(path):
                raise CheckpointError(Phrase("{path} {what}", path=path, what=what))
            yield [path.name, sha256_of(path, cache_folder(), has_trusted_hash=True)]
