"""Training runs on the Hugging Face Hub: one checkpoint per branch or tag, or per sub-folder of a revision.

An address without a pattern is one checkpoint if the repository has weights at its root, else the sub-folders
that have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from milepost.errors import SourceError
from milepost.sources.formats import Layout, format_named
from milepost.sources.formats.format import CONFIG
from milepost.sources.given import NOTHING, Given
from milepost.sources.hub_address import HubAddress
from milepost.sources.hub_listing import commit_of, contents_of, list_files, list_revisions
from milepost.sources.hub_requests import is_offline
from milepost.sources.layout import recognise
from milepost.sources.listing_memory import HubFile
from milepost.sources.names import is_pattern, listed, names_a_step, nearest, shown, step_in
from milepost.sources.run import Run, ordered
from milepost.types import Checkpoint, HubLocation

_LISTING_THREADS = 8


@dataclass(frozen=True, slots=True)
class _Folder:
    """One folder of one revision that holds weights."""

    revision: str
    commit: str
    subfolder: str
    layout: Layout


def find_on_hub(source: str, given: Given = NOTHING) -> Run:
    """The run a Hub address stands for.

    Raises:
        SourceError: no such repository, revision or folder; no weights in it; the Hub cannot be reached.
    """
    address = HubAddress.parse(source)
    revisions = _revisions(address)
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        listings = list(pool.map(lambda commit: list_files(address.repo_id, commit), revisions.values()))
    folders = [
        folder
        for (revision, commit), files in zip(revisions.items(), listings, strict=True)
        for folder in _folders(address, revision, commit, files, given)
    ]
    if not folders:
        raise _nothing_found(address, source, listings)
    checkpoints = [_checkpoint(address, folder, given, alone=len(folders) == 1) for folder in folders]
    name = address.repo_id.rpartition("/")[2]
    return Run(f"hf://{address.repo_id}", name, source, ordered(checkpoints))


def _revisions(address: HubAddress) -> dict[str, str]:
    wanted = address.revision or "main"
    if not is_pattern(wanted):
        commit = commit_of(address.repo_id, wanted)
        if commit is None:
            raise _no_revision(address, wanted, list_revisions(address.repo_id))
        return {wanted: commit}
    known = list_revisions(address.repo_id)
    matching = {name: commit for name, commit in known.items() if fnmatchcase(name, wanted)}
    if not matching:
        raise _no_revision(address, wanted, known)
    return matching


def _folders(
    address: HubAddress, revision: str, commit: str, files: Mapping[str, HubFile], given: Given
) -> list[_Folder]:
    """The folders with weights that the address means in one revision."""
    if is_pattern(address.subfolder):
        wanted = [name for name in _all_folders(files) if _matches(name, address.subfolder)]
    elif _layout(files, address.subfolder, given) is not None:
        wanted = [address.subfolder]
    else:
        inside = PurePosixPath(address.subfolder)
        wanted = [name for name in _all_folders(files) if PurePosixPath(name).parent == inside]
    found = [(name, _layout(files, name, given)) for name in wanted]
    return [_Folder(revision, commit, name, layout) for name, layout in found if layout is not None]


def _layout(files: Mapping[str, HubFile], folder: str, given: Given) -> Layout | None:
    """What a folder of a revision holds; shards are checked by the numbers in their names."""
    contents = contents_of(files, folder)
    layout = recognise(contents)
    above = PurePosixPath(folder).parent / CONFIG
    if layout is None or layout.problem or CONFIG in contents.files or (folder and str(above) in files):
        return layout
    format = format_named(layout.format)
    if given.config is not None or (format is not None and not format.needs_config):
        return layout
    where = "in the folder and in the one above" if folder else "in the repository"
    problem = f"{CONFIG} is missing, {where}; --config FILE gives one"
    return Layout(layout.format, layout.weight_files, layout.size_bytes, problem)


def _checkpoint(address: HubAddress, folder: _Folder, given: Given, *, alone: bool) -> Checkpoint:
    in_subfolder = bool(folder.subfolder)
    name = PurePosixPath(folder.subfolder).name if in_subfolder else folder.revision
    tells_step = names_a_step(name) or not alone
    own = HubAddress(address.repo_id, folder.revision, folder.subfolder)
    return Checkpoint(
        series=address.repo_id.rpartition("/")[2],
        name=name,
        step=step_in(name) if tells_step else None,
        source=str(own),
        format=folder.layout.format,
        location=HubLocation(
            repo_id=address.repo_id,
            revision=folder.revision,
            commit=folder.commit,
            subfolder=folder.subfolder,
        ),
        size_bytes=folder.layout.size_bytes,
        problem=folder.layout.problem,
        config=given.config,
    )


def _all_folders(files: Mapping[str, HubFile]) -> list[str]:
    parents = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    return sorted(parents - {"."})


def _matches(folder: str, pattern: str) -> bool:
    """Shell pattern, folder by folder, so that `*` stays within one level."""
    parts, wanted = folder.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _no_revision(address: HubAddress, wanted: str, known: Mapping[str, str]) -> SourceError:
    where = "in the local cache" if is_offline() else "among its branches and tags"
    alike = nearest(wanted, known)
    return SourceError(
        f"hf://{address.repo_id} has no revision {shown(wanted)} {where}",
        f"there is {listed(alike)}" if alike else None,
    )


def _nothing_found(address: HubAddress, source: str, listings: list[Mapping[str, HubFile]]) -> SourceError:
    folders = {name for files in listings for name in _all_folders(files)}
    where = "the local cache holds" if is_offline() else "there are"
    if is_pattern(address.subfolder):
        alike = nearest(address.subfolder, folders)
        hint = f"{where} the folders {listed(alike)}" if alike else f"{where} no folders"
        return SourceError(f"{shown(source)} matches no folder with weights", hint)
    inside = address.subfolder or "the repository"
    alike = nearest(address.subfolder, folders) if folders else []
    hint = (
        f"{where} the folders {listed(alike)}" if alike else f"{where} only files such as {_some(listings)}"
    )
    return SourceError(f"{shown(source)}: no weights in {shown(inside)}", hint)


def _some(listings: list[Mapping[str, HubFile]]) -> str:
    names = sorted({path for files in listings for path in files})
    return listed(names[:4]) or "none"
