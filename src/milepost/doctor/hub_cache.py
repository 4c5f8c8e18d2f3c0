"""Find broken files in the Hugging Face cache by its layout.

A blob is named by its SHA-256, or by git's id for small files; a snapshot is a folder of links to blobs;
what is being downloaded ends in `.incomplete`. (https://huggingface.co/docs/huggingface_hub/guides/manage-cache)
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from milepost.doctor.finding import Finding
from milepost.errors import CheckpointError
from milepost.sources.digests import sha256_now
from milepost.sources.formats.huggingface.safetensors_header import read_header
from milepost.sources.hub.files import as_published
from milepost.sources.hub.listing_cache import HubFile, recall_listing
from milepost.sources.hub.repair import damage_of
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase
from milepost.text.messages import shown

_REPO = re.compile(r"(model|dataset|space)s--(.+)")
_ABANDONED_S = 3600.0
"""A download that nothing was added to for so long is no longer under way."""
_LONGEST_S = 20.0
"""Time limit of the quick check in seconds; the check of a very large cache stops here and says so."""
_MOST_TOLD = 10


@dataclass(frozen=True, slots=True)
class _Cached:
    """One file of a snapshot in the cache."""

    kind: str
    repo_id: str
    commit: str
    path: str
    link: Path

    @property
    def mend(self) -> str:
        """The command that downloads it again, and it alone."""
        words = ["hf", "download", self.repo_id, self.path, "--revision", self.commit, "--force-download"]
        if self.kind != "model":
            words += ["--repo-type", self.kind]
        return shlex.join(words)


def check_hub_cache(*, deep: bool) -> Iterator[Finding]:
    """Place and size of the cache; every file found broken, with the command that mends it; leftovers."""
    from huggingface_hub import constants

    root = Path(constants.HF_HUB_CACHE)
    if not root.is_dir():
        yield Finding("cached files", "ok", Phrase("no Hub cache yet at {folder}", folder=shown(root)))
        return
    start = time.monotonic()
    broken: list[tuple[_Cached, str]] = []
    n_seen = n_bytes = 0
    complete = True
    for cached in _files_in(root):
        if not deep and time.monotonic() - start > _LONGEST_S:
            complete = False
            break
        n_seen += 1
        n_bytes += cached.link.stat().st_size if cached.link.exists() else 0
        if (damage := _damage(cached, deep)) is not None:
            broken.append((cached, damage))
    yield from (
        Finding(
            "cached files",
            "broken",
            Phrase("{name} {damage}", name=_name(cached), damage=damage),
            cached.mend,
        )
        for cached, damage in broken[:_MOST_TOLD]
    )
    if len(broken) > _MOST_TOLD:
        yield Finding(
            "cached files",
            "broken",
            Phrase("and {n} more", n=len(broken) - _MOST_TOLD),
            "mend the first, ask again",
        )
    yield from _leftovers(root)
    how = Phrase("hashed") if deep else Phrase("looked at, sizes and small files' hashes")
    told = Phrase(
        "{folder}: {n} files, {size}, {how}; {m} broken",
        folder=shown(root),
        n=n_seen,
        size=format_bytes(n_bytes),
        how=how,
        m=len(broken),
    )
    if not complete:
        yield Finding(
            "cached files",
            "warning",
            Phrase("{told}; stopped after {seconds:.0f} s", told=told, seconds=_LONGEST_S),
            "use --deep for all",
        )
    elif not broken:
        yield Finding("cached files", "ok", told, None if deep else "--deep hashes the large files, too")


def _files_in(root: Path) -> Iterator[_Cached]:
    for repository in sorted(root.iterdir()):
        form = _REPO.fullmatch(repository.name)
        if form is None or not (repository / "snapshots").is_dir():
            continue
        for snapshot in sorted((repository / "snapshots").iterdir()):
            for folder, _, names in os.walk(snapshot):
                for link in (Path(folder, name) for name in sorted(names)):
                    path = link.relative_to(snapshot).as_posix()
                    yield _Cached(form[1], form[2].replace("--", "/"), snapshot.name, path, link)


def _damage(cached: _Cached, deep: bool) -> str | None:
    if not cached.link.exists():
        return Phrase("leads to a file that is gone")
    try:
        published = _published(cached)
        if (damage := damage_of(cached.link, published, None)) is not None:
            return damage
        if cached.path.endswith(".safetensors"):
            read_header(cached.link)
        if deep and published.sha256 is not None and sha256_now(cached.link) != published.sha256:
            return Phrase("is damaged: its SHA-256 is not the published one")
    except CheckpointError as error:
        return error.message.replace(shown(cached.link), "").strip()
    return None


def _published(cached: _Cached) -> HubFile:
    """Return the published size and hash from our listing, else what the name of the blob shows."""
    listed = recall_listing(cached.repo_id, cached.commit) if cached.kind == "model" else None
    return (listed or {}).get(cached.path) or as_published(cached.link)


def _leftovers(root: Path) -> Iterator[Finding]:
    sizes = {path: path.stat() for path in sorted(root.glob("*/blobs/*.incomplete"))}
    old = [path for path, about in sizes.items() if time.time() - about.st_mtime > _ABANDONED_S]
    if old:
        total = format_bytes(sum(sizes[path].st_size for path in old))
        command = shlex.join(["rm", *map(str, old[:_MOST_TOLD])])
        yield Finding(
            "cached files",
            "warning",
            Phrase("{n} downloads were never finished, {total}", n=len(old), total=total),
            command,
        )
    under_way = len(sizes) - len(old)
    if under_way:
        yield Finding("cached files", "ok", Phrase("{n} downloads under way", n=under_way))


def _name(cached: _Cached) -> str:
    return shown(f"{cached.repo_id}@{cached.commit[:12]}/{cached.path}")
