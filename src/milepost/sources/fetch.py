"""Make a checkpoint's files local: a folder is already; from the Hub comes just what is needed."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from milepost.errors import CheckpointError, MilepostError
from milepost.sources.digests import sha256_of
from milepost.sources.hub_listing import cache_folder_of, list_files, published_sha256
from milepost.sources.hub_requests import ask_hub, is_offline
from milepost.sources.layout import CONFIG, TOKENIZER_FILES, WEIGHT_NAMES
from milepost.types import Checkpoint, HubLocation

_DESCRIPTIONS = (CONFIG, "generation_config.json")
_TOKENIZER_PATTERNS = (*TOKENIZER_FILES, "*.tiktoken", CONFIG)
_WEIGHT_PATTERNS = {
    "safetensors": ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json"),
    "bin": ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json"),
}
assert set(_WEIGHT_PATTERNS) == {names.format for names in WEIGHT_NAMES}


def fetch(checkpoint: Checkpoint, cache_dir: Path | None = None) -> Path:
    """The folder with the checkpoint's config and weights, downloaded to the Hub cache if it is not there.

    Downloads the commit that was listed, never code, optimizer states or a second copy of the weights in
    another format. What is in the cache already is not asked for again.

    Args:
        cache_dir: given, the downloaded weights are compared with their published SHA-256, which
            huggingface_hub does not do (about 1 s per GB; remembered there while a file is unchanged).

    Raises:
        CheckpointError: the checkpoint has a problem, the download failed for good, or is damaged.
    """
    if checkpoint.problem:
        raise CheckpointError(f"{checkpoint.source}: {checkpoint.problem}")
    location = checkpoint.location
    if isinstance(location, Path):
        return location
    patterns = _WEIGHT_PATTERNS[checkpoint.format]
    snapshot = _download(
        location, (*patterns, *_DESCRIPTIONS), _DESCRIPTIONS, what=checkpoint.source, error=CheckpointError
    )
    folder = snapshot / location.subfolder
    weights = [path for pattern in patterns for path in folder.glob(pattern)]
    if not weights:
        raise CheckpointError(f"{checkpoint.source}: its weights are not in {folder}")
    if cache_dir is not None:
        for path in weights:
            _compare_with_published(path, cache_dir)
    return folder


def fetch_config(checkpoint: Checkpoint) -> Path:
    """The folder that `fetch` would return, with the config in it or above it; no weights are downloaded.

    Raises:
        CheckpointError: the download failed for good.
    """
    location = checkpoint.location
    if isinstance(location, Path):
        return location
    snapshot = _download(
        location, _DESCRIPTIONS, _DESCRIPTIONS, what=checkpoint.source, error=CheckpointError
    )
    return snapshot / location.subfolder


def fetch_tokenizer_files(location: HubLocation, *, what: str, error: type[MilepostError]) -> Path:
    """The folder with the tokenizer files of a Hub location; empty of them where it has none."""
    snapshot = _download(location, _TOKENIZER_PATTERNS, (CONFIG,), what=what, error=error)
    return snapshot / location.subfolder


def _download(
    location: HubLocation, here: Sequence[str], above: Sequence[str], *, what: str, error: type[MilepostError]
) -> Path:
    """Download files by name (shell patterns) from the location's folder, and from the one above it.

    Only paths that the commit lists are asked for, one by one: huggingface_hub's own patterns cross folders.

    Returns:
        the folder of the whole snapshot in the Hub cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RevisionNotFoundError

    paths = [
        path
        for path in list_files(location.repo_id, location.commit)
        if _is_one_of(path, location.subfolder, here)
        or (location.subfolder and _is_one_of(path, _above(location.subfolder), above))
    ]
    with _quiet():
        try:
            snapshot = ask_hub(
                lambda: snapshot_download(
                    location.repo_id,
                    revision=location.commit,
                    allow_patterns=[glob.escape(path) for path in paths],
                    local_files_only=is_offline(),
                ),
                what=what,
                error=error,
            )
        except RevisionNotFoundError as refusal:
            raise error(f"{what}: its commit {location.commit[:12]} is gone from the Hub", None) from refusal
    _remember_revision(location)
    return Path(snapshot)


def _is_one_of(path: str, folder: str, names: Sequence[str]) -> bool:
    parent, _, name = path.rpartition("/")
    return parent == folder and any(fnmatchcase(name, pattern) for pattern in names)


def _above(folder: str) -> str:
    return folder.rpartition("/")[0]


def _compare_with_published(path: Path, cache_dir: Path) -> None:
    published = published_sha256(path)
    if published is not None and sha256_of(path.resolve(), cache_dir) != published:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is not the published one",
            f"delete {path.resolve()} and run again",
        )


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
