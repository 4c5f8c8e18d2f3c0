"""Find and download the files of a checkpoint's tokenizer, without loading them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from milepost.errors import SourceError, TokenizerError
from milepost.sources.bucket.fetching import tokenizer_in_bucket
from milepost.sources.fetch import fetch_tokenizer_files
from milepost.sources.folder_inspection import has_tokenizer, is_read
from milepost.sources.hub.address import HubAddress
from milepost.sources.hub.files import commit_of, files_in
from milepost.sources.links import leads_out
from milepost.text.language import Phrase
from milepost.text.messages import shown
from milepost.text.name_matching import is_pattern
from milepost.types.checkpoints import BucketLocation, Checkpoint, HubLocation

TOKENIZER_HINT = "pass --tokenizer PATH (a folder, or a repository such as hf://org/name)"
_REPO_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?(?:@[^/@]+)?")


def tokenizer_location(checkpoint: Checkpoint, override: str | None = None) -> Path:
    """Return a local folder with the tokenizer's files; download only these if they are missing.

    Searched in order: `override` (a folder, `hf://org/name` or `org/name`); the checkpoint; the folder above
    it; on the Hub the root of its revision and of `main`; for an adapter its base.

    Raises:
        TokenizerError: no tokenizer was found.
    """
    if override is not None:
        return _overriding(override)
    location = checkpoint.location
    if isinstance(location, BucketLocation):
        found = tokenizer_in_bucket(location)
    else:
        found = _beside(location) if isinstance(location, Path) else _on_hub(location)
    if found is None and checkpoint.base is not None:
        return tokenizer_location(checkpoint.base)
    if found is None:
        raise TokenizerError(
            Phrase("{source} has no tokenizer", source=shown(checkpoint.source)), TOKENIZER_HINT
        )
    return found


def _overriding(override: str) -> Path:
    if not override.strip():
        raise TokenizerError("--tokenizer is empty", TOKENIZER_HINT)
    try:
        path = Path(override).expanduser()
        if path.is_file():
            path = path.parent
        if path.is_dir():
            if not _has_tokenizer(path):
                raise TokenizerError(
                    Phrase("there is no tokenizer in {override}", override=shown(override)), TOKENIZER_HINT
                )
            return path.resolve()
    except (ValueError, OSError) as error:
        raise TokenizerError(
            Phrase(
                "--tokenizer {override!r} is not a valid path: {error}", override=shown(override), error=error
            ),
            TOKENIZER_HINT,
        ) from error
    text = override.removeprefix("hf://")
    if override == text and not _REPO_ID.fullmatch(override):
        raise TokenizerError(
            Phrase("--tokenizer {override} does not exist", override=shown(override)), TOKENIZER_HINT
        )
    try:
        found = _at_address(HubAddress.parse(f"hf://{text}"))
    except SourceError as error:
        here = "there is no such folder, and " if override == text else ""
        raise TokenizerError(
            Phrase(
                "--tokenizer {override}: {here}{message}",
                override=shown(override),
                here=here,
                message=error.message,
            ),
            error.hint or TOKENIZER_HINT,
        ) from error
    if found is None:
        raise TokenizerError(
            Phrase("there is no tokenizer in {override}", override=shown(override)), TOKENIZER_HINT
        )
    return found


def _at_address(address: HubAddress) -> Path | None:
    revision = address.revision or "main"
    commit = None if is_pattern(str(address)) else commit_of(address.repo_id, revision)
    if commit is None:
        raise SourceError(
            Phrase(
                "hf://{repo_id} has no revision {revision}", repo_id=address.repo_id, revision=shown(revision)
            )
        )
    return _on_hub(
        HubLocation(repo_id=address.repo_id, revision=revision, commit=commit, subfolder=address.subfolder)
    )


def _beside(folder: Path) -> Path | None:
    place = next((place for place in (folder, folder.parent) if _has_tokenizer(place)), None)
    for path in place.iterdir() if place else ():
        if is_read(path.name) and leads_out(path):
            raise TokenizerError(
                Phrase("{path} is a link out of its folder", path=shown(path)), TOKENIZER_HINT
            )
    return place


def _has_tokenizer(folder: Path) -> bool:
    return has_tokenizer([path.name for path in folder.iterdir() if path.is_file()])


def _on_hub(location: HubLocation) -> Path | None:
    parent = str(PurePosixPath(location.subfolder).parent) if location.subfolder else ""
    folders = dict.fromkeys([location.subfolder, "" if parent == "." else parent, ""])
    places = [replace(location, subfolder=folder) for folder in folders]
    for place in places:
        if _lists_tokenizer(place):
            return _download(place)
    main = _main_of(location)
    return _download(main) if main is not None and _lists_tokenizer(main) else None


def _main_of(location: HubLocation) -> HubLocation | None:
    commit = commit_of(location.repo_id, "main")
    if commit is None:
        return None
    return HubLocation(repo_id=location.repo_id, revision="main", commit=commit)


def _lists_tokenizer(place: HubLocation) -> bool:
    return has_tokenizer(files_in(place))


def _download(place: HubLocation) -> Path:
    address = HubAddress(place.repo_id, place.revision, place.subfolder)
    return fetch_tokenizer_files(place, what=f"the tokenizer of {address}", error=TokenizerError)
