"""Make a checkpoint's files local: a folder is already; from the Hub comes just what is needed."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from milepost.errors import CheckpointError, MilepostError
from milepost.sources.hub_listing import cache_folder_of
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


def fetch(checkpoint: Checkpoint) -> Path:
    """The folder with the checkpoint's config and weights, downloaded to the Hub cache if it is not there.

    Downloads the commit that was listed, never code, optimizer states or a second copy of the weights in
    another format. What is in the cache already is not asked for again.

    Raises:
        CheckpointError: the checkpoint has a problem, or the download failed for good.
    """
    if checkpoint.problem:
        raise CheckpointError(f"{checkpoint.source}: {checkpoint.problem}")
    location = checkpoint.location
    if isinstance(location, Path):
        return location
    patterns = (*_WEIGHT_PATTERNS[checkpoint.format], *_DESCRIPTIONS)
    snapshot = download(location, patterns, what=checkpoint.source, error=CheckpointError)
    folder = snapshot / location.subfolder
    if not any(folder.glob(pattern) for pattern in patterns[:2]):
        raise CheckpointError(f"{checkpoint.source}: its weights are not in {folder}")
    return folder


def fetch_config(checkpoint: Checkpoint) -> Path:
    """The folder that `fetch` would return, with the config in it or above it; no weights are downloaded.

    Raises:
        CheckpointError: the download failed for good.
    """
    location = checkpoint.location
    if isinstance(location, Path):
        return location
    snapshot = download(location, _DESCRIPTIONS, what=checkpoint.source, error=CheckpointError)
    return snapshot / location.subfolder


def fetch_tokenizer_files(location: HubLocation, *, what: str, error: type[MilepostError]) -> Path:
    """The folder with the tokenizer files of a Hub location; empty of them where it has none."""
    snapshot = download(location, _TOKENIZER_PATTERNS, what=what, error=error)
    return snapshot / location.subfolder


def download(location: HubLocation, names: Sequence[str], *, what: str, error: type[MilepostError]) -> Path:
    """Download the files of these names (patterns) in the location's folder and the one above it.

    Returns:
        the folder of the whole snapshot in the Hub cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RevisionNotFoundError

    folder = location.subfolder
    above = str(PurePosixPath(folder).parent) if folder else "."
    prefixes = {_prefix(folder), _prefix("" if above == "." else above)}
    with _quiet():
        try:
            snapshot = ask_hub(
                lambda: snapshot_download(
                    location.repo_id,
                    revision=location.commit,
                    allow_patterns=[prefix + name for prefix in sorted(prefixes) for name in names],
                    ignore_patterns=_deeper_than(folder),
                    local_files_only=is_offline(),
                ),
                what=what,
                error=error,
            )
        except RevisionNotFoundError as refusal:
            raise error(f"{what}: its commit {location.commit[:12]} is gone from the Hub", None) from refusal
    _remember_revision(location)
    return Path(snapshot)


def _prefix(folder: str) -> str:
    return f"{glob.escape(folder)}/" if folder else ""


def _deeper_than(folder: str) -> list[str]:
    """Patterns for files below the folder: in the Hub's patterns `*` matches slashes too."""
    return [f"{_prefix(folder)}*/*"] if folder else ["*/*"]


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
