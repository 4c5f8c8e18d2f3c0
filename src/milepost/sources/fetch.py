"""Make a checkpoint's files local: a folder is already; from the Hub comes just what is needed."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from milepost.errors import CheckpointError, MilepostError
from milepost.sources.formats import format_named
from milepost.sources.formats.format import CONFIG
from milepost.sources.hub_listing import cache_folder_of, list_files
from milepost.sources.hub_repair import damaged_files, drop
from milepost.sources.hub_requests import ask_hub, endpoint, is_offline
from milepost.sources.layout import TOKENIZER_FILES
from milepost.sources.listing_memory import HubFile
from milepost.sources.names import shown
from milepost.types import Checkpoint, HubLocation

logger = logging.getLogger("milepost.sources")

_DESCRIPTIONS = (CONFIG, "generation_config.json")
_TOKENIZER_PATTERNS = (*TOKENIZER_FILES, "*.tiktoken", CONFIG)


def fetch(checkpoint: Checkpoint, cache_dir: Path | None = None, *, repair: bool = True) -> Path:
    """The folder with the checkpoint's config and weights, downloaded to the Hub cache if it is not there.

    Downloads the commit that was listed, never code, optimizer states or a second copy of the weights in
    another format. What is in the cache already is not asked for again: if all is, no request is made.

    Args:
        cache_dir: given, the downloaded weights are compared with their published SHA-256, which
            huggingface_hub does not do (about 1 s per GB; remembered there while a file is unchanged).
        repair: a damaged file in the cache is fetched again, it alone and once; else it is an error.

    Raises:
        CheckpointError: the checkpoint has a problem, the download failed for good, or is damaged.
    """
    if checkpoint.problem:
        raise CheckpointError(f"{shown(checkpoint.source)}: {checkpoint.problem}")
    location = checkpoint.location
    if isinstance(location, Path):
        return location
    patterns = _downloads(checkpoint)
    asked = _Asked(shown(checkpoint.source), CheckpointError, cache_dir, repair)
    wanted = _wanted(location, (*patterns, *_DESCRIPTIONS), _DESCRIPTIONS)
    folder = _make_local(location, wanted, asked) / location.subfolder
    if not any(path for pattern in patterns for path in folder.glob(pattern)):
        raise CheckpointError(f"{asked.what}: its weights are not in {shown(str(folder))}")
    return folder


def is_fetched(checkpoint: Checkpoint) -> bool:
    """Whether `fetch` would have nothing to download; of an adapter, neither for its base."""
    location = checkpoint.location
    if checkpoint.base is not None and not is_fetched(checkpoint.base):
        return False
    if checkpoint.problem or isinstance(location, Path):
        return True
    wanted = _wanted(location, (*_downloads(checkpoint), *_DESCRIPTIONS), _DESCRIPTIONS)
    return not _missing(location, wanted)


def _downloads(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Patterns of the weight files of a checkpoint without a problem."""
    format = format_named(checkpoint.format)
    assert format is not None  # else it had a problem
    return format.downloads


def fetch_config(checkpoint: Checkpoint) -> Path:
    """The folder that `fetch` would return, with what tells the config in it or above it, and no more.

    Raises:
        CheckpointError: the download failed for good.
    """
    location = checkpoint.location
    if isinstance(location, Path):
        return location
    format = format_named(checkpoint.format)
    telling = (*_DESCRIPTIONS, *(format.describing if format else ()))
    wanted = _wanted(location, telling, _DESCRIPTIONS)
    return _make_local(location, wanted, _Asked(shown(checkpoint.source))) / location.subfolder


def fetch_tokenizer_files(location: HubLocation, *, what: str, error: type[MilepostError]) -> Path:
    """The folder with the tokenizer files of a Hub location; empty of them where it has none."""
    wanted = _wanted(location, _TOKENIZER_PATTERNS, (CONFIG,))
    return _make_local(location, wanted, _Asked(shown(what), error)) / location.subfolder


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a download is for, and what is to be made of damage."""

    what: str
    error: type[MilepostError] = CheckpointError
    cache_dir: Path | None = None
    repair: bool = True


def _wanted(location: HubLocation, here: Sequence[str], above: Sequence[str]) -> dict[str, HubFile]:
    """The files of a commit with these names (shell patterns) in the location's folder and the one above it.

    Chosen here, because huggingface_hub's own patterns cross folders.
    """
    return {
        path: file
        for path, file in list_files(location.repo_id, location.commit).items()
        if _is_one_of(path, location.subfolder, here)
        or (location.subfolder and _is_one_of(path, _above(location.subfolder), above))
    }


def _make_local(location: HubLocation, wanted: Mapping[str, HubFile], asked: _Asked) -> Path:
    """Download what is not in the cache, and once more what is damaged there; the folder of the snapshot."""
    snapshot = _snapshot(location)
    missing = _missing(location, wanted)
    if missing:
        _download(location, missing, asked)
    damaged = damaged_files(snapshot, wanted, asked.cache_dir)
    if damaged and asked.repair and not is_offline():
        for path, damage in damaged.items():
            logger.warning("%s: %s %s; fetching it again", asked.what, shown(path), damage)
            drop(snapshot / path)
        _download(location, list(damaged), asked)
        damaged = damaged_files(snapshot, {path: wanted[path] for path in damaged}, asked.cache_dir)
    if damaged:
        raise _damage_error(snapshot, damaged, asked)
    _remember_revision(location)
    return snapshot


def _snapshot(location: HubLocation) -> Path:
    return cache_folder_of(location.repo_id) / "snapshots" / location.commit


def _missing(location: HubLocation, wanted: Mapping[str, HubFile]) -> list[str]:
    return [path for path in wanted if not (_snapshot(location) / path).is_file()]


def _download(location: HubLocation, paths: Sequence[str], asked: _Asked) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RevisionNotFoundError

    with _quiet():
        try:
            ask_hub(
                lambda: snapshot_download(
                    location.repo_id,
                    revision=location.commit,
                    allow_patterns=[glob.escape(path) for path in paths],
                    local_files_only=is_offline(),
                ),
                what=asked.what,
                error=asked.error,
            )
        except RevisionNotFoundError as refusal:
            raise asked.error(
                f"{asked.what}: its commit {location.commit[:12]} is gone from the Hub", None
            ) from refusal


def _damage_error(snapshot: Path, damaged: Mapping[str, str], asked: _Asked) -> MilepostError:
    path, damage = next(iter(damaged.items()))
    others = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
    if is_offline():
        hint = "unset HF_HUB_OFFLINE, and it is fetched again"
    elif asked.repair:
        hint = f"it arrived damaged twice; try another mirror than {endpoint()} (HF_ENDPOINT)"
    else:
        hint = "with --repair it is fetched again"
    return asked.error(f"{asked.what}: {shown(str(snapshot / path))} {damage}{others}", hint)


def _is_one_of(path: str, folder: str, patterns: Sequence[str]) -> bool:
    """Whether the path, seen from the folder, matches; part by part, so that `*` stays within one level."""
    prefix = f"{folder}/" if folder else ""
    if not path.startswith(prefix):
        return False
    parts = path[len(prefix) :].split("/")
    return any(_all_match(parts, pattern.split("/")) for pattern in patterns)


def _all_match(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _above(folder: str) -> str:
    return folder.rpartition("/")[0]


def _remember_revision(location: HubLocation) -> None:
    """Note which commit the branch or tag stood for, as huggingface_hub does when asked for it by name.

    We ask by commit, so that listing and download agree; offline, the name must still be found.
    """
    if location.revision == location.commit:
        return
    ref = cache_folder_of(location.repo_id) / "refs" / location.revision
    if ref.is_file() and ref.read_text("utf-8") == location.commit:
        return
    ref.parent.mkdir(parents=True, exist_ok=True)
    temporary = ref.with_name(f".{ref.name}.{os.getpid()}.tmp")
    temporary.write_text(location.commit, "utf-8")
    temporary.replace(ref)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of huggingface_hub's: ours are on the screen."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
