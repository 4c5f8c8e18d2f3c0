"""Files of one commit brought from the Hub into its cache: what is missing, and once more what is damaged."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from milepost.environment_urls import hub_endpoint
from milepost.errors import CheckpointError, MilepostError
from milepost.sources.hub.bounds import bounded
from milepost.sources.hub.files import cache_folder_of
from milepost.sources.hub.listing_cache import HubFile
from milepost.sources.hub.repair import damaged_files, drop
from milepost.sources.hub.requests import ask_hub, is_offline
from milepost.sources.names import shown
from milepost.types import HubLocation

logger = logging.getLogger("milepost.sources")

_THREADS = 8
_SMALL_BYTES = 1 << 20
"""Read of any answer, since that to a refused request has a text of its own."""


@dataclass(frozen=True, slots=True)
class Download:
    """Options of a download."""

    what: str
    """What is fetched, for messages (`hf://org/name@step-1`)."""
    error: type[MilepostError] = CheckpointError
    """Raised where it fails."""
    cache_dir: Path | None = None
    """Where hashes of unchanged files are remembered; None leaves large files uncompared."""
    repair: bool = True
    """Whether a damaged file is fetched again."""


def make_local(location: HubLocation, wanted: Mapping[str, HubFile], asked: Download) -> Path:
    """Download what is not in the cache, and once more what is damaged there; return the snapshot's folder.

    Args:
        wanted: path in the repository to its description.

    Raises:
        MilepostError: of the kind `asked.error`.
    """
    snapshot = _snapshot(location)
    missing = missing_files(location, wanted)
    if missing:
        _download(location, {path: wanted[path] for path in missing}, asked)
    damaged = damaged_files(snapshot, wanted, asked.cache_dir)
    if damaged and asked.repair and not is_offline():
        for path, damage in damaged.items():
            logger.warning("%s: %s %s; fetching it again", asked.what, shown(path), damage)
            drop(snapshot / path)
        _download(location, {path: wanted[path] for path in damaged}, asked)
        damaged = damaged_files(snapshot, {path: wanted[path] for path in damaged}, asked.cache_dir)
    if damaged:
        raise _damage_error(snapshot, damaged, asked)
    _remember_revision(location)
    return snapshot


def _snapshot(location: HubLocation) -> Path:
    return cache_folder_of(location.repo_id) / "snapshots" / location.commit


def missing_files(location: HubLocation, wanted: Mapping[str, HubFile]) -> list[str]:
    """Paths of those that are not in the cache."""
    return [path for path in wanted if not (_snapshot(location) / path).is_file()]


def _download(location: HubLocation, files: Mapping[str, HubFile], asked: Download) -> None:
    with _quiet(), ThreadPoolExecutor(_THREADS) as pool:
        waiting = [pool.submit(_download_one, location, path, file, asked) for path, file in files.items()]
        try:
            for one in waiting:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _download_one(location: HubLocation, path: str, file: HubFile, asked: Download) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        with bounded(asked.what, max_bytes=max(file.size, _SMALL_BYTES), error=asked.error):
            ask_hub(
                lambda: hf_hub_download(
                    location.repo_id, path, revision=location.commit, local_files_only=is_offline()
                ),
                what=asked.what,
                error=asked.error,
            )
    except RevisionNotFoundError as refusal:
        raise asked.error(
            f"{asked.what}: its commit {location.commit[:12]} is gone from the Hub", None
        ) from refusal


def _damage_error(snapshot: Path, damaged: Mapping[str, str], asked: Download) -> MilepostError:
    path, damage = next(iter(damaged.items()))
    others = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
    if is_offline():
        hint = "unset HF_HUB_OFFLINE, and it is fetched again"
    elif asked.repair:
        hint = f"it arrived damaged twice; try another mirror than {hub_endpoint()} (HF_ENDPOINT)"
    else:
        hint = "with --repair it is fetched again"
    return asked.error(f"{asked.what}: {shown(str(snapshot / path))} {damage}{others}", hint)


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
