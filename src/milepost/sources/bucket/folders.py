"""Recognise a folder of a bucket by the same rules as a folder on disk, from names and sizes."""

from __future__ import annotations

from dataclasses import replace

from milepost.errors import MilepostError
from milepost.sources.bucket.download import make_local, place_of
from milepost.sources.bucket.listing import FolderListing
from milepost.sources.folder_inspection import recognise
from milepost.sources.formats import Contents, Layout, format_named
from milepost.sources.formats.format import CONFIG, Unreadable
from milepost.sources.overrides import NO_OVERRIDES, Overrides
from milepost.sources.regular_files import read_regular
from milepost.types.checkpoints import BucketLocation


def bucket_layout(
    listing: FolderListing, location: BucketLocation, overrides: Overrides = NO_OVERRIDES
) -> Layout | None:
    """Return the layout of a folder, with its first problem; None if it has no weights."""
    layout = recognise(_contents(listing, location))
    if layout is None or layout.problem:
        return layout
    format = format_named(layout.format)
    needed = overrides.config is None and (format is None or format.needs_config)
    if not needed or CONFIG in listing.files or CONFIG in listing.above:
        return layout
    where = "in the folder and in the one above"
    return replace(layout, problem=f"{CONFIG} is missing, {where}; --config FILE gives one")


def _contents(listing: FolderListing, location: BucketLocation) -> Contents:
    def directly_in(name: str) -> dict[str, int]:
        below = f"{name}/" if name else ""
        found = {
            path[len(below) :]: one.size for path, one in listing.files.items() if path.startswith(below)
        }
        return {path: size for path, size in found.items() if "/" not in path}

    def read(name: str, limit: int) -> bytes:
        one = listing.files[name]
        if one.size > limit:
            raise Unreadable(f"{name} is longer than {limit} bytes")
        path = place_of(location) / name
        try:
            make_local(location, {path: one})
            return read_regular(path, limit)
        except MilepostError as error:
            raise Unreadable(error.message) from error
        except OSError as error:
            raise Unreadable(f"{name} cannot be read: {error.strerror or error}") from error

    folders = {name.split("/")[0] for name in listing.files if "/" in name}
    return Contents(files=directly_in(""), folders=folders, inside=directly_in, read=read)
