"""What an earlier run read of a series, remembered while the files it was read from are what they were.

To understand a config or a tokenizer as transformers does takes transformers and torch, seconds of imports.
A run that finds everything scored needs neither. Remembered are series of Hugging Face folders in which every
complete checkpoint fitted the others; any other series is read each time.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from milepost.cache import cache_folder, write_cache_file
from milepost.errors import CheckpointError, MilepostError, TokenizerError
from milepost.run.chat import choose_chat_template
from milepost.run.config import EvalConfig
from milepost.run.series import PreparedSeries
from milepost.run.software_versions import installed_version
from milepost.sources import fetch_config, tokenizer_location
from milepost.sources.digests import sha256_of
from milepost.sources.formats import BIN, SAFETENSORS
from milepost.sources.local import find_config
from milepost.sources.regular_files import too_large
from milepost.types import Checkpoint, GenerationDefaults, Series
from milepost.version import __version__

_FORM = 2
_READERS = ("transformers", "tokenizers")
_DESCRIBES = (".json", ".jinja", ".model", ".tiktoken", ".txt")
"""Ends of the names of files that a tokenizer or a config is read from; weights have others."""


def recall_series(series: Series, config: EvalConfig) -> PreparedSeries | None:
    """What `remember_series` was given for these very files; None where it was given nothing."""
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
            refused=tuple((one, one.problem) for one in series.checkpoints if one.problem is not None),
            tokenizer_folder=folder,
            load_tokenizer=_loader(folder, config.tasks.apply_chat_template),
            tokenizer_id=known["tokenizer_id"],
            max_length=known["max_length"],
            vocab_size=known["vocab_size"],
            generations={
                one: GenerationDefaults(
                    stop_tokens=tuple(said["stop_tokens"]),
                    options=tuple((name, value) for name, value in said["options"]),
                )
                for one, said in zip(usable, known["generations"], strict=True)
            },
            dtypes=dict(zip(usable, known["dtypes"], strict=True)),
        )
    except (OSError, ValueError, KeyError):
        return None  # never seen, or cut short


def remember_series(series: Series, config: EvalConfig, read: PreparedSeries) -> None:
    """Keep what was read of a series for `recall_series`."""
    if read.checkpoints != _usable(series) or (note := _note(series, config)) is None:
        return
    known = {
        "tokenizer_folder": str(read.tokenizer_folder),
        "tokenizer_id": read.tokenizer_id,
        "max_length": read.max_length,
        "vocab_size": read.vocab_size,
        "generations": [asdict(read.generations[one]) for one in read.checkpoints],
        "dtypes": [read.dtypes[one] for one in read.checkpoints],
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
    return tuple(one for one in series.checkpoints if one.problem is None)


def _note(series: Series, config: EvalConfig) -> Path | None:
    """Where it is kept: named by the content of every file that was read, and by who reads it."""
    told: list[Any] = [_FORM, [__version__, *(installed_version(name) for name in _READERS)]]
    told.append(config.tasks.apply_chat_template)
    plain = {SAFETENSORS.name, BIN.name}
    try:
        for checkpoint in _usable(series):
            if checkpoint.base is not None or checkpoint.format not in plain:
                return None
            told.append([checkpoint.name, *_files_of(checkpoint, config.tokenizer)])
    except (MilepostError, OSError):
        return None  # whoever reads it for good says what is wrong
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return cache_folder() / "series" / f"{digest[:32]}.json"


def _files_of(checkpoint: Checkpoint, override: str | None) -> Iterator[list[str]]:
    """Name and SHA-256 of what a checkpoint's config and tokenizer are read from."""
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
                raise CheckpointError(f"{path} {what}")
            yield [path.name, sha256_of(path, cache_folder(), has_trusted_hash=True)]
