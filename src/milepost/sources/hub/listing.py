"""Find training runs on the Hub: one checkpoint per branch or tag, or per sub-folder of a revision.

An address without a pattern is one checkpoint if the repository has weights at its root; otherwise each
sub-folder with weights is a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from milepost.errors import SourceError
from milepost.network.environment_urls import check_hub_settings
from milepost.sources.formats import Layout
from milepost.sources.hub.address import HubAddress
from milepost.sources.hub.files import commit_of, list_files, list_revisions
from milepost.sources.hub.folders import hub_layout
from milepost.sources.hub.listing_cache import HubFile
from milepost.sources.hub.requests import is_offline
from milepost.sources.names import names_a_step, nearest, step_in
from milepost.sources.no_weights import why_no_weights
from milepost.sources.overrides import NO_OVERRIDES, Overrides
from milepost.sources.raw_series import RawSeries, ordered
from milepost.text.language import Phrase
from milepost.text.messages import listed, shown, some
from milepost.text.name_matching import is_pattern
from milepost.types.checkpoints import Checkpoint, HubLocation, Series

_LISTING_THREADS = 8


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder with weights in one revision."""

    revision: str
    commit: str
    subfolder: str
    layout: Layout


def find_on_hub(source: str, overrides: Overrides = NO_OVERRIDES) -> RawSeries:
    """Return the training run at a Hub address.

    Raises:
        SourceError: the repository, revision or folder does not exist or has no weights; or no connection.
    """
    check_hub_settings(SourceError)  # before huggingface_hub is imported
    address = HubAddress.parse(source)
    revisions = _revisions(address)
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        listings = list(pool.map(lambda commit: list_files(address.repo_id, commit), revisions.values()))
        found = pool.map(
            lambda revision, files: _folders(address, revision, revisions[revision], files, overrides),
            revisions,
            listings,
        )
        folders = [folder for inner in found for folder in inner]
    if not folders:
        raise _nothing_found(address, source, listings)
    checkpoints = [_checkpoint(address, folder, overrides, alone=len(folders) == 1) for folder in folders]
    name = address.repo_id.rpartition("/")[2]
    return RawSeries(f"hf://{address.repo_id}", name, source, ordered(checkpoints))


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
    address: HubAddress, revision: str, commit: str, files: Mapping[str, HubFile], overrides: Overrides
) -> list[_Folder]:
    """Return the folders with weights in one revision that match the address."""

    def layout_in(folder: str) -> Layout | None:
        return hub_layout(
            HubLocation(repo_id=address.repo_id, revision=revision, commit=commit, subfolder=folder),
            overrides,
        )

    if is_pattern(address.subfolder):
        wanted = [name for name in _all_folders(files) if _matches(name, address.subfolder)]
    elif layout_in(address.subfolder) is not None:
        wanted = [address.subfolder]
    else:
        inside = PurePosixPath(address.subfolder)
        wanted = [name for name in _all_folders(files) if PurePosixPath(name).parent == inside]
        if not any(layout_in(name) for name in wanted):
            wanted = [address.subfolder]
    found = [(name, layout_in(name) or _without_weights(files, name, revision)) for name in wanted]
    return [_Folder(revision, commit, name, layout) for name, layout in found if layout is not None]


def _without_weights(files: Mapping[str, HubFile], folder: str, revision: str) -> Layout | None:
    """Return a layout with a problem if a folder or branch is named like a checkpoint, else None."""
    if not names_a_step(PurePosixPath(folder).name if folder else revision):
        return None
    prefix = f"{folder}/" if folder else ""
    inside = {path[len(prefix) :] for path in files if path.startswith(prefix)}
    here = {path for path in inside if "/" not in path}
    problem = why_no_weights(here, {path.split("/")[0] for path in inside - here})
    return None if problem is None else Layout("unknown", problem=problem)


def _checkpoint(address: HubAddress, folder: _Folder, overrides: Overrides, *, alone: bool) -> Checkpoint:
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
        config=overrides.config,
    )


def _all_folders(files: Mapping[str, HubFile]) -> list[str]:
    parents = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    return sorted(parents - {"."})


def _matches(folder: str, pattern: str) -> bool:
    """Match a shell pattern folder by folder, so that `*` stays within one level."""
    parts, wanted = folder.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _no_revision(address: HubAddress, wanted: str, known: Mapping[str, str]) -> SourceError:
    where = "in the local cache" if is_offline() else "among its branches and tags"
    if (inside := _folders_like(address, wanted)) is not None:
        return SourceError(
            Phrase(
                "hf://{repo_id} has no branch or tag {wanted}, but sub-folders of that name",
                repo_id=address.repo_id,
                wanted=shown(wanted),
            ),
            Phrase("write {address}", address=shown(inside)),
        )
    alike = nearest(wanted, known)
    return SourceError(
        Phrase(
            "hf://{repo_id} has no revision {wanted} {where}",
            repo_id=address.repo_id,
            wanted=shown(wanted),
            where=where,
        ),
        Phrase("it has {names}", names=listed(alike)) if alike else None,
    )


def _folders_like(address: HubAddress, wanted: str) -> str | None:
    """Return the address of the sub-folders of `main` that `wanted` names; None where there are none."""
    commit = commit_of(address.repo_id, "main")
    files = {} if commit is None else list_files(address.repo_id, commit)
    inside = f"{wanted}/{address.subfolder}".rstrip("/")
    if any(_matches(folder, inside) for folder in _all_folders(files)):
        return str(HubAddress(address.repo_id, None, inside))
    return None


def other_branches(series: Series) -> list[str]:
    """Return the branches and tags of a repository whose address names none of them.

    Raises:
        SourceError: no connection.
    """
    if not series.root.startswith("hf://"):
        return []
    address = HubAddress.parse(series.source)
    if address.revision is not None:
        return []
    return sorted(
        set(list_revisions(address.repo_id)) - {"main"}, key=lambda name: (step_in(name) or 0, name)
    )


def _nothing_found(address: HubAddress, source: str, listings: list[Mapping[str, HubFile]]) -> SourceError:
    folders = {name for files in listings for name in _all_folders(files)}
    where = Phrase("the local cache holds") if is_offline() else Phrase("there are")
    if is_pattern(address.subfolder):
        alike = nearest(address.subfolder, folders)
        hint = _names_of(where, alike) if alike else Phrase("{there_are} no folders", there_are=where)
        return SourceError(Phrase("{source} matches no folder with weights", source=shown(source)), hint)
    inside = address.subfolder or "the repository"
    alike = nearest(address.subfolder, folders) if folders else []
    hint = (
        _names_of(where, alike)
        if alike
        else Phrase("{there_are} only files such as {names}", there_are=where, names=_some(listings))
    )
    if not address.subfolder and (branches := sorted(set(list_revisions(address.repo_id)) - {"main"})):
        hint = Phrase(
            "its other branches are {names}: hf://{repository}@{branch}",
            names=some(branches, 6),
            repository=address.repo_id,
            branch=branches[0],
        )
    return SourceError(
        Phrase("{source}: no weights in {inside}", source=shown(source), inside=shown(inside)), hint
    )


def _names_of(where: str, alike: Sequence[str]) -> str:
    return Phrase("{there_are} the folders {names}", there_are=where, names=listed(alike))


def _some(listings: list[Mapping[str, HubFile]]) -> str:
    names = sorted({path for files in listings for path in files})
    return listed(names[:4]) or "none"
