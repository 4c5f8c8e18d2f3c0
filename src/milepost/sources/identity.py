"""Identify a checkpoint by a hash of its config and weights, whatever its name and place.

The hash of an adapter includes its base's. Checkpoints of one identity give the same scores; a folder that
was overwritten in place has a new one. The config's dtype is part of it, because `--dtype auto` uses it;
`_name_or_path`, `transformers_version` and the like are not, because they do not change the computation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.bucket.fetching import (
    fetch_all,
    fetch_described,
    known_digests,
    remember_digests,
    weight_sizes,
)
from milepost.sources.checksums import check_promise, promised_sha256
from milepost.sources.config_file import read_config_file
from milepost.sources.digests import sha256_now, sha256_of
from milepost.sources.fetch import fetch, fetch_config
from milepost.sources.formats import format_named
from milepost.sources.formats.format import CONFIG
from milepost.sources.formats.huggingface.layout import WEIGHT_NAMES
from milepost.sources.formats.peft.layout import ADAPTER_CONFIG
from milepost.sources.hub.files import files_in
from milepost.sources.hub.folders import hub_layout
from milepost.sources.hub.listing_cache import HubFile
from milepost.sources.local_folder import find_config, inspect_folder
from milepost.sources.overrides import Overrides
from milepost.text.language import Phrase
from milepost.text.messages import shown
from milepost.types.checkpoints import BucketLocation, Checkpoint, HubLocation

_NOT_THE_MODEL = frozenset({"_name_or_path", "transformers_version"})
_NOT_THE_ADAPTER = frozenset({"base_model_name_or_path", "revision", "peft_version", "inference_mode"})
_VERSION = "milepost-model-1"


@dataclass(frozen=True, slots=True)
class FileDigest:
    """A weight file."""

    name: str
    """Path in the checkpoint's folder."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The model id of a checkpoint, with its files."""

    model_id: str
    """64 hex digits."""
    files: tuple[FileDigest, ...]
    """The weight files, sorted by name."""


def identify(
    checkpoint: Checkpoint, cache_dir: Path, hash_file: Callable[[Path], str] = sha256_now
) -> Identity:
    """Return the identity of the checkpoint's model as it is now.

    For the Hub, the published SHA-256 of the weight files is used, without a download. Local files are read,
    or taken from the cache in `cache_dir` while they are unchanged: a second call after the weights were read
    is cheap, and an equal result proves that they are the ones that were identified.

    Args:
        hash_file: as in `digests.sha256_of`, for the checkpoint's own weight files.

    Raises:
        CheckpointError: the checkpoint has a problem, a file cannot be read, or differs from the sums beside
            it (`SHA256SUMS`, `model.safetensors.sha256`) or from an earlier visit.
    """
    if checkpoint.problem:
        raise CheckpointError(
            Phrase("{source}: {problem}", source=shown(checkpoint.source), problem=checkpoint.problem)
        )
    if isinstance(checkpoint.location, HubLocation):
        folder, files = _on_hub(checkpoint, checkpoint.location, cache_dir)
    elif isinstance(checkpoint.location, BucketLocation):
        folder, files = _from_bucket(checkpoint, checkpoint.location, cache_dir, hash_file)
    else:
        folder, files = _in_folder(checkpoint, checkpoint.location, cache_dir, hash_file)
    described = _description(checkpoint, folder)
    if checkpoint.base is not None:
        described["base"] = identify(checkpoint.base, cache_dir).model_id
    return _identity(described, files)


_FolderAndFiles = tuple[Path, tuple[FileDigest, ...]]
"""The folder with the config, and the digests of the weight files."""


def _in_folder(
    checkpoint: Checkpoint, folder: Path, cache_dir: Path, hash_file: Callable[[Path], str]
) -> _FolderAndFiles:
    layout = inspect_folder(folder, Overrides(config=checkpoint.config))
    if layout is None or layout.problem:
        raise CheckpointError(
            Phrase(
                "{folder}: {problem}",
                folder=shown(folder),
                problem=layout.problem if layout and layout.problem else "no weights in it",
            )
        )
    files = _digests_in(folder, layout.weight_files, cache_dir, hash_file)
    config = checkpoint.config or find_config(folder)
    small = [folder / name for name in (ADAPTER_CONFIG, *(names.index for names in WEIGHT_NAMES))]
    for path in (*small, *([config] if config else [])):
        if promised_sha256(path) is not None and path.is_file():
            check_promise(path, sha256_of(path, cache_dir, has_trusted_hash=True))
    return folder, files


def _from_bucket(
    checkpoint: Checkpoint, location: BucketLocation, cache_dir: Path, hash_file: Callable[[Path], str]
) -> _FolderAndFiles:
    """Return as `_in_folder` of the downloaded files; what is known by version is not downloaded again."""
    known = known_digests(checkpoint, location, cache_dir)
    if known is not None:
        sizes = weight_sizes(checkpoint, location)
        files = tuple(FileDigest(name, sizes[name], sha256) for name, sha256 in known.items())
        return fetch_described(checkpoint, location), files
    folder, files = _in_folder(checkpoint, fetch_all(checkpoint, location), cache_dir, hash_file)
    remember_digests(checkpoint, location, cache_dir, {file.name: file.sha256 for file in files})
    return folder, files


def _on_hub(checkpoint: Checkpoint, location: HubLocation, cache_dir: Path) -> _FolderAndFiles:
    weights = _weight_files(location, checkpoint)
    if any(file.sha256 is None for file in weights.values()):  # small enough to be kept in git
        folder = fetch(checkpoint)
        return folder, _digests_in(folder, weights, cache_dir)
    files = tuple(FileDigest(name, file.size, file.sha256 or "") for name, file in weights.items())
    return fetch_config(checkpoint), files


def _description(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    """Return the config entries that are part of the identity; empty if the weights have no config."""
    if checkpoint.base is not None:
        adapter = read_config_file(folder / ADAPTER_CONFIG)
        return {"config": {key: value for key, value in adapter.items() if key not in _NOT_THE_ADAPTER}}
    path = checkpoint.config or find_config(folder)
    if path is not None:
        return {"config": _canonical_config(path)}
    format = format_named(checkpoint.format)
    if format is None or format.needs_config:
        raise CheckpointError(
            Phrase("{source}: {CONFIG} is missing", source=shown(checkpoint.source), CONFIG=CONFIG)
        )
    return {}


def _weight_files(location: HubLocation, checkpoint: Checkpoint) -> dict[str, HubFile]:
    layout = hub_layout(location, Overrides(config=checkpoint.config))
    if layout is None or layout.problem:
        raise CheckpointError(
            Phrase(
                "{source}: {problem}",
                source=shown(checkpoint.source),
                problem=layout.problem if layout else "no weights in it",
            )
        )
    files = files_in(location)
    return {name: files[name] for name in layout.weight_files}


def _digests_in(
    folder: Path,
    names: Iterable[str],
    cache_dir: Path,
    hash_file: Callable[[Path], str] = sha256_now,
) -> tuple[FileDigest, ...]:
    return tuple(_digest_of(folder, name, cache_dir, hash_file) for name in names)


def _digest_of(folder: Path, name: str, cache_dir: Path, hash_file: Callable[[Path], str]) -> FileDigest:
    """Return a file's digest, checked against the sum beside it or else against an earlier visit."""
    path = folder / name
    promised = promised_sha256(path) is not None
    sha256 = sha256_of(path, cache_dir, has_trusted_hash=promised, hash_file=hash_file)
    check_promise(path, sha256)
    return FileDigest(name, path.stat().st_size, sha256)


def _identity(described: Mapping[str, Any], files: tuple[FileDigest, ...]) -> Identity:
    files = tuple(sorted(files, key=lambda file: file.name))
    parts = {
        "form": _VERSION,
        **described,
        "weights": [[file.name, file.size, file.sha256] for file in files],
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Identity(hashlib.sha256(text.encode("ascii")).hexdigest(), files)


def _canonical_config(path: Path) -> dict[str, Any]:
    kept = {key: value for key, value in read_config_file(path).items() if key not in _NOT_THE_MODEL}
    if "torch_dtype" in kept:  # its name before transformers 5
        kept.setdefault("dtype", kept.pop("torch_dtype"))
    return kept
