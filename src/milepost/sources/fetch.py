"""Make a checkpoint's files local: download only the files that are needed."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from milepost.errors import CheckpointError, MilepostError
from milepost.sources.bucket.fetching import fetch_all, fetch_described, is_all_local
from milepost.sources.folder_inspection import TOKENIZER_FILES
from milepost.sources.formats import format_named
from milepost.sources.formats.format import CONFIG
from milepost.sources.hub.download import Download, make_local, missing_files
from milepost.sources.hub.files import list_files
from milepost.sources.hub.folders import hub_layout
from milepost.sources.hub.listing_cache import HubFile
from milepost.sources.overrides import Overrides
from milepost.text.language import Phrase
from milepost.text.messages import shown
from milepost.types.checkpoints import BucketLocation, Checkpoint, HubLocation

_DESCRIPTIONS = (CONFIG, "generation_config.json")
_TOKENIZER_PATTERNS = (*TOKENIZER_FILES, "*.tiktoken", CONFIG)


def fetch(checkpoint: Checkpoint, cache_dir: Path | None = None, *, repair: bool = True) -> Path:
    """Return the folder with the checkpoint's config and weights; download what the Hub cache lacks.

    The commit that was listed is downloaded, never code, optimizer states or a second copy of the weights in
    another format. No request is made if everything is in the cache.

    Args:
        cache_dir: compare the downloaded weights with their published SHA-256, which huggingface_hub does not
            do (about 1 s per GB); hashes of unchanged files are cached here. None: no comparison.
        repair: download a damaged file again, once; otherwise it is an error.

    Raises:
        CheckpointError: it has a problem, its download failed after every retry, or a file is damaged.
    """
    if checkpoint.problem:
        raise CheckpointError(
            Phrase("{source}: {problem}", source=shown(checkpoint.source), problem=checkpoint.problem)
        )
    location = checkpoint.location
    if isinstance(location, Path):
        return location
    if isinstance(location, BucketLocation):
        return fetch_all(checkpoint, location)
    options = Download(shown(checkpoint.source), CheckpointError, cache_dir, repair)
    return make_local(location, _files_of(checkpoint, location), options) / location.subfolder


def is_fetched(checkpoint: Checkpoint) -> bool:
    """Return True if `fetch` would download nothing, for an adapter and for its base."""
    location = checkpoint.location
    if checkpoint.base is not None and not is_fetched(checkpoint.base):
        return False
    if checkpoint.problem or isinstance(location, Path):
        return True
    if isinstance(location, BucketLocation):
        return is_all_local(checkpoint, location)
    return not missing_files(location, _files_of(checkpoint, location))


def _files_of(checkpoint: Checkpoint, location: HubLocation) -> dict[str, HubFile]:
    """Return the weight files of the checkpoint and the files that describe it."""
    layout = hub_layout(location, Overrides(config=checkpoint.config))
    if layout is None or layout.problem:
        problem = layout.problem if layout else "no weights in it"
        raise CheckpointError(Phrase("{source}: {problem}", source=shown(checkpoint.source), problem=problem))
    listed = list_files(location.repo_id, location.commit)
    prefix = f"{location.subfolder}/" if location.subfolder else ""
    weights = {prefix + name: listed[prefix + name] for name in layout.weight_files}
    return {**_described(checkpoint, location), **weights}


def _described(checkpoint: Checkpoint, location: HubLocation) -> dict[str, HubFile]:
    """Return the files with its config, the index of its weights and its generation settings."""
    format = format_named(checkpoint.format)
    telling = (*_DESCRIPTIONS, *(format.describing if format else ()))
    return _wanted(location, telling, _DESCRIPTIONS)


def fetch_config(checkpoint: Checkpoint) -> Path:
    """Return the folder that `fetch` would return, with only the files that describe the checkpoint.

    Raises:
        CheckpointError: the download failed after every retry.
    """
    location = checkpoint.location
    if isinstance(location, Path):
        return location
    if isinstance(location, BucketLocation):
        return fetch_described(checkpoint, location)
    options = Download(shown(checkpoint.source))
    return make_local(location, _described(checkpoint, location), options) / location.subfolder


def fetch_tokenizer_files(location: HubLocation, *, what: str, error: type[MilepostError]) -> Path:
    """Return the folder with the tokenizer files of a Hub location, which may have none."""
    wanted = _wanted(location, _TOKENIZER_PATTERNS, (CONFIG,))
    return make_local(location, wanted, Download(shown(what), error)) / location.subfolder


def _wanted(location: HubLocation, here: Sequence[str], above: Sequence[str]) -> dict[str, HubFile]:
    """Return the files that match shell patterns, in the location's folder (`here`) and its parent (`above`).

    huggingface_hub's own patterns cross folders; these do not.
    """
    return {
        path: file
        for path, file in list_files(location.repo_id, location.commit).items()
        if _is_one_of(path, location.subfolder, here)
        or (location.subfolder and _is_one_of(path, _above(location.subfolder), above))
    }


def _is_one_of(path: str, folder: str, patterns: Sequence[str]) -> bool:
    """Return True if the path relative to the folder matches; `*` stays within one level."""
    prefix = f"{folder}/" if folder else ""
    if not path.startswith(prefix):
        return False
    parts = path[len(prefix) :].split("/")
    return any(_all_match(parts, pattern.split("/")) for pattern in patterns)


def _all_match(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _above(folder: str) -> str:
    return folder.rpartition("/")[0]
