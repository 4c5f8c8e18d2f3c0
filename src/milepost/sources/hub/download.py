"""Download files of a commit into the Hub cache, and damaged files once more."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from milepost.errors import CheckpointError, MilepostError
from milepost.network.downloads import Transfer, counting, counting_bar
from milepost.network.environment_urls import hub_endpoint
from milepost.network.progress_bars import without_progress_bars
from milepost.sources.hub.bounds import bounded
from milepost.sources.hub.files import cache_folder_of
from milepost.sources.hub.listing_cache import HubFile
from milepost.sources.hub.repair import damaged_files, drop
from milepost.sources.hub.requests import ask_hub, is_offline
from milepost.text.language import Phrase
from milepost.text.messages import shown
from milepost.types.checkpoints import HubLocation

logger = logging.getLogger("milepost.sources")

_THREADS = 8
_CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 20
"""Limit for small files, which leaves room for the text of an error response."""


@dataclass(frozen=True, slots=True)
class Download:
    """Options of a download."""

    what: str
    """Name for messages (`hf://org/name@step-1`)."""
    error: type[MilepostError] = CheckpointError
    """Class of the error if the download fails."""
    cache_dir: Path | None = None
    """Folder in which hashes of unchanged files are cached; None: large files are not compared."""
    repair: bool = True
    """True: a damaged file is downloaded again."""


def make_local(location: HubLocation, wanted: Mapping[str, HubFile], options: Download) -> Path:
    """Download files that are missing, and damaged files once more; return the snapshot's folder.

    Args:
        wanted: path in the repository to its description.

    Raises:
        MilepostError: of the class `options.error`.
    """
    snapshot = _snapshot(location)
    missing = missing_files(location, wanted)
    if missing:
        _download(location, {path: wanted[path] for path in missing}, options)
    damaged = damaged_files(snapshot, wanted, options.cache_dir)
    if damaged and options.repair and not is_offline():
        for path, damage in damaged.items():
            logger.warning("%s: %s %s; downloading it again", options.what, shown(path), damage)
            drop(snapshot / path)
        _download(location, {path: wanted[path] for path in damaged}, options)
        damaged = damaged_files(snapshot, {path: wanted[path] for path in damaged}, options.cache_dir)
    if damaged:
        raise _damage_error(snapshot, damaged, options)
    _remember_revision(location)
    return snapshot


def _snapshot(location: HubLocation) -> Path:
    return cache_folder_of(location.repo_id) / "snapshots" / location.commit


def missing_files(location: HubLocation, wanted: Mapping[str, HubFile]) -> list[str]:
    """Return the paths of files that are not in the cache."""
    return [path for path in wanted if not (_snapshot(location) / path).is_file()]


def _download(location: HubLocation, files: Mapping[str, HubFile], options: Download) -> None:
    total = sum(file.size for file in files.values())
    with _quiet(), counting(options.what, total) as transfer, ThreadPoolExecutor(_THREADS) as pool:
        waiting = [
            pool.submit(_download_one, location, path, file, options, transfer)
            for path, file in files.items()
        ]
        try:
            for download in waiting:
                download.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _download_one(
    location: HubLocation, path: str, file: HubFile, options: Download, transfer: Transfer
) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        with bounded(options.what, max_bytes=max(file.size, _SMALL_BYTES), error=options.error):
            ask_hub(
                lambda: hf_hub_download(
                    location.repo_id,
                    path,
                    revision=location.commit,
                    local_files_only=is_offline(),
                    tqdm_class=counting_bar(transfer),
                ),
                what=options.what,
                error=options.error,
            )
    except RevisionNotFoundError as refusal:
        raise options.error(
            Phrase(
                "{what}: its commit {commit} is gone from the Hub",
                what=options.what,
                commit=location.commit[:12],
            ),
            None,
        ) from refusal


def _damage_error(snapshot: Path, damaged: Mapping[str, str], options: Download) -> MilepostError:
    path, damage = next(iter(damaged.items()))
    others = Phrase(" (and {n} more)", n=len(damaged) - 1) if len(damaged) > 1 else ""
    if is_offline():
        hint = "unset HF_HUB_OFFLINE to download it again"
    elif options.repair:
        hint = Phrase(
            "the download was damaged twice; try another mirror than {endpoint} (HF_ENDPOINT)",
            endpoint=hub_endpoint(),
        )
    else:
        hint = "pass --repair to download it again"
    return options.error(
        Phrase(
            "{what}: {path} {damage}{others}",
            what=options.what,
            path=shown(snapshot / path),
            damage=damage,
            others=others,
        ),
        hint,
    )


def _remember_revision(location: HubLocation) -> None:
    """Record the commit of a branch or tag, as huggingface_hub does for downloads by name.

    Downloads are by commit, so that they agree with the listing; offline, the name must still be found.
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
    """Switch huggingface_hub's progress bars off: Milepost shows its own, kept up to date by small chunks."""
    from huggingface_hub import constants, utils

    constants.DOWNLOAD_CHUNK_SIZE = min(constants.DOWNLOAD_CHUNK_SIZE, _CHUNK_BYTES)
    with without_progress_bars(utils):
        yield
