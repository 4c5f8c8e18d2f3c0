"""Check weights against SHA-256 sums in the files `SHA256SUMS` and `model.safetensors.sha256` beside them.

Formats: those of coreutils' `sha256sum` (`HEX  NAME`, `HEX *NAME`; with `--tag` `SHA256 (NAME) = HEX`), and a
single `HEX` in a file named after the weights.
"""

from __future__ import annotations

import re
from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.regular_files import read_regular
from milepost.sources.unreadable_files import unreadable
from milepost.text.language import Phrase
from milepost.text.messages import shown

ALL_SUMS = "SHA256SUMS"
_OWN_SUM = ".sha256"
_PLAIN = re.compile(r"\\?([0-9a-fA-F]{64})(?: [ *](.+))?")
_TAGGED = re.compile(r"SHA256 \((.+)\) = ([0-9a-fA-F]{64})")
_MAX_BYTES = 16_000_000


def promised_sha256(file: Path) -> str | None:
    """Return the SHA-256 of a file that a file beside it gives, in lower case, or None.

    Raises:
        CheckpointError: a file with sums cannot be read, or the file's own one has no sum for it.
    """
    own = file.with_name(file.name + _OWN_SUM)
    promised = _sums_in(own).get(file.name) if own.exists() else None
    if own.exists() and promised is None:
        raise CheckpointError(
            Phrase("{own} has no SHA-256 of {name}", own=shown(own), name=shown(file.name)), "write it again"
        )
    every = file.with_name(ALL_SUMS)
    listed = _sums_in(every).get(file.name) if every.exists() else None
    if promised and listed and promised != listed:
        raise CheckpointError(
            Phrase("{own} and {ALL_SUMS} contradict each other", own=shown(own), ALL_SUMS=ALL_SUMS),
            "write both again",
        )
    return promised or listed


def check_promise(file: Path, sha256: str) -> None:
    """Check a file's SHA-256 against the one beside it, if there is one.

    Raises:
        CheckpointError: they differ; also as `promised_sha256`.
    """
    promised = promised_sha256(file)
    if promised is not None and promised != sha256:
        raise CheckpointError(
            Phrase("{file} is damaged: its SHA-256 is not the one written beside it", file=shown(file)),
            "copy the file again, or update its checksum if the change is intended",
        )


def _sums_in(path: Path) -> dict[str, str]:
    try:
        text = read_regular(path, _MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise unreadable(path, error) from error
    sums = {}
    for line in text.splitlines():
        if tagged := _TAGGED.fullmatch(line.strip()):
            sums[tagged[1].removeprefix("./")] = tagged[2].lower()
        elif plain := _PLAIN.fullmatch(line.strip()):
            sums[(plain[2] or path.name.removesuffix(_OWN_SUM)).removeprefix("./")] = plain[1].lower()
    return sums
