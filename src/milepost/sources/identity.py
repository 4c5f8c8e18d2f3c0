"""Which model a checkpoint is: a hash of its config and weights, whatever its name and place.

Two checkpoints with one identity give the same scores; a folder overwritten in place has a new one. The
config's dtype belongs to it, because `--dtype auto` computes in it. What does not: `_name_or_path` and
`transformers_version`, which tell where a file comes from and not what it computes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.checksums import check_promise, promised_sha256
from milepost.sources.config_file import read_config_file
from milepost.sources.digests import sha256_of
from milepost.sources.fetch import fetch, fetch_config
from milepost.sources.hub_listing import list_files
from milepost.sources.layout import CONFIG, WEIGHT_NAMES, recognise
from milepost.sources.listing_memory import HubFile
from milepost.sources.local import find_config, inspect_folder
from milepost.sources.names import shown
from milepost.types import Checkpoint, HubLocation

_NOT_THE_MODEL = frozenset({"_name_or_path", "transformers_version"})
_FORM = "milepost-model-1"


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One weight file."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What a checkpoint is, apart from its name."""

    model_id: str
    """64 hex digits."""
    files: tuple[FileDigest, ...]
    """The weight files, by name."""


def identify(checkpoint: Checkpoint, cache_dir: Path) -> Identity:
    """The identity of the checkpoint's model, as it is now.

    For the Hub the published SHA-256 of each weight file is taken, without downloading it. Local files are
    read, or remembered under `cache_dir` while they are unchanged: asking again after the weights were read
    is cheap, and an equal answer proves that what was read is what was identified.

    Raises:
        CheckpointError: the checkpoint has a problem, a file cannot be read, or is not what is known of it
            by the sums beside it (`SHA256SUMS`, `model.safetensors.sha256`) or from an earlier visit.
    """
    if checkpoint.problem:
        raise CheckpointError(f"{shown(checkpoint.source)}: {checkpoint.problem}")
    if isinstance(checkpoint.location, HubLocation):
        return _identify_on_hub(checkpoint, checkpoint.location, cache_dir)
    return _identify_folder(checkpoint.location, cache_dir)


def _identify_folder(folder: Path, cache_dir: Path) -> Identity:
    layout = inspect_folder(folder)
    config = find_config(folder)
    if layout is None or layout.problem or config is None:
        raise CheckpointError(
            f"{shown(str(folder))}: {layout.problem if layout and layout.problem else 'no weights in it'}"
        )
    files = _digests_in(folder, layout.weight_files, cache_dir)
    for small in (config, *(folder / names.index for names in WEIGHT_NAMES)):
        if promised_sha256(small) is not None and small.is_file():
            check_promise(small, sha256_of(small, cache_dir, judged_elsewhere=True))
    return _identity(config, files)


def _identify_on_hub(checkpoint: Checkpoint, location: HubLocation, cache_dir: Path) -> Identity:
    listed = list_files(location.repo_id, location.commit)
    prefix = f"{location.subfolder}/" if location.subfolder else ""
    weights = _weight_files(listed, prefix, checkpoint)
    if any(file.sha256 is None for file in weights.values()):  # small enough to be kept in git
        folder = fetch(checkpoint)
        files = _digests_in(folder, weights, cache_dir)
        config = find_config(folder)
    else:
        files = tuple(FileDigest(name, file.size, file.sha256 or "") for name, file in weights.items())
        config = find_config(fetch_config(checkpoint))
    if config is None:
        raise CheckpointError(f"{shown(checkpoint.source)}: {CONFIG} is missing")
    return _identity(config, files)


def _weight_files(listed: Any, prefix: str, checkpoint: Checkpoint) -> dict[str, HubFile]:
    here = {path[len(prefix) :]: file for path, file in listed.items() if path.startswith(prefix)}
    here = {name: file for name, file in here.items() if "/" not in name}
    layout = recognise({name: file.size for name, file in here.items()}, ())
    if layout is None or layout.problem:
        raise CheckpointError(
            f"{shown(checkpoint.source)}: {layout.problem if layout else 'no weights in it'}"
        )
    return {name: here[name] for name in layout.weight_files}


def _digests_in(folder: Path, names: Iterable[str], cache_dir: Path) -> tuple[FileDigest, ...]:
    return tuple(_digest_of(folder / name, cache_dir) for name in names)


def _digest_of(path: Path, cache_dir: Path) -> FileDigest:
    """Checked against the sum beside the file; where there is none, against an earlier visit."""
    sha256 = sha256_of(path, cache_dir, judged_elsewhere=promised_sha256(path) is not None)
    check_promise(path, sha256)
    return FileDigest(path.name, path.stat().st_size, sha256)


def _identity(config: Path, files: tuple[FileDigest, ...]) -> Identity:
    files = tuple(sorted(files, key=lambda file: file.name))
    told = {
        "form": _FORM,
        "config": _canonical_config(config),
        "weights": [[file.name, file.size, file.sha256] for file in files],
    }
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Identity(hashlib.sha256(text.encode("ascii")).hexdigest(), files)


def _canonical_config(path: Path) -> dict[str, Any]:
    kept = {key: value for key, value in read_config_file(path).items() if key not in _NOT_THE_MODEL}
    if "torch_dtype" in kept:  # its name before transformers 5
        kept.setdefault("dtype", kept.pop("torch_dtype"))
    return kept
