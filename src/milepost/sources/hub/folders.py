"""Recognise a folder of a Hub repository by the same rules as a folder on disk.

Names and sizes come from the listing. Small files that decide which files belong to the checkpoint (the index
of shards) are downloaded into the cache when a rule needs them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from milepost.errors import MilepostError
from milepost.sources.folder_inspection import recognise
from milepost.sources.formats import Contents, Layout, format_named
from milepost.sources.formats.format import CONFIG, Unreadable
from milepost.sources.hub.address import HubAddress
from milepost.sources.hub.download import Download, make_local
from milepost.sources.hub.files import files_in, list_files
from milepost.sources.overrides import NO_OVERRIDES, Overrides
from milepost.sources.regular_files import read_regular
from milepost.types.checkpoints import HubLocation


def hub_layout(location: HubLocation, overrides: Overrides = NO_OVERRIDES) -> Layout | None:
    """Return the layout of a folder of a revision, with its first problem; None if it has no weights.

    Raises:
        SourceError: the files of the revision cannot be listed.
    """
    contents = _contents(location)
    layout = recognise(contents)
    if layout is None or layout.problem or CONFIG in contents.files:
        return layout
    folder = location.subfolder
    above = PurePosixPath(folder).parent / CONFIG
    format = format_named(layout.format)
    needed = overrides.config is None and (format is None or format.needs_config)
    if not needed or (folder and str(above) in list_files(location.repo_id, location.commit)):
        return layout
    where = "in the folder and in the one above" if folder else "in the repository"
    return replace(layout, problem=f"{CONFIG} is missing, {where}; --config FILE gives one")


def _contents(location: HubLocation) -> Contents:
    prefix = f"{location.subfolder}/" if location.subfolder else ""
    inside = files_in(location)

    def directly_in(name: str) -> dict[str, int]:
        below = f"{name}/" if name else ""
        found = {path[len(below) :]: file.size for path, file in inside.items() if path.startswith(below)}
        return {path: size for path, size in found.items() if "/" not in path}

    def read(name: str, limit: int) -> bytes:
        if inside[name].size > limit:
            raise Unreadable(f"{name} is longer than {limit} bytes")
        what = str(HubAddress(location.repo_id, location.revision, location.subfolder))
        try:
            snapshot = make_local(location, {prefix + name: inside[name]}, Download(f"{what}: {name}"))
            return read_regular(snapshot / prefix / name, limit)
        except MilepostError as error:
            raise Unreadable(error.message) from error
        except OSError as error:
            raise Unreadable(f"{name} cannot be read: {error.strerror or error}") from error

    folders = {name.split("/")[0] for name in inside if "/" in name}
    return Contents(files=directly_in(""), folders=folders, inside=directly_in, read=read)
