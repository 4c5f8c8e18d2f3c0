"""SHA-256 sums that lie beside the weights: `SHA256SUMS` and `model.safetensors.sha256`.

Read in the forms of coreutils' `sha256sum` (`HEX  NAME`, `HEX *NAME`; with `--tag` `SHA256 (NAME) = HEX`),
and as a lone `HEX` in a file named after the one it belongs to.
"""

from __future__ import annotations

import re
from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.names import shown
from milepost.sources.regular_files import read_regular

ALL_SUMS = "SHA256SUMS"
_OWN_SUM = ".sha256"
_PLAIN = re.compile(r"\\?([0-9a-fA-F]{64})(?: [ *](.+))?")
_TAGGED = re.compile(r"SHA256 \((.+)\) = ([0-9a-fA-F]{64})")
_MAX_BYTES = 16_000_000


def promised_sha256(file: Path) -> str | None:
    """The SHA-256 that a file beside this one says it has, in lower case; None where none does.

    Raises:
        CheckpointError: a file of sums cannot be read, or the file's own one holds no sum for it.
    """
    own = file.with_name(file.name + _OWN_SUM)
    promised = _sums_in(own).get(file.name) if own.exists() else None
    if own.exists() and promised is None:
        raise CheckpointError(f"{shown(str(own))} holds no SHA-256 of {shown(file.name)}", "write it again")
    every = file.with_name(ALL_SUMS)
    listed = _sums_in(every).get(file.name) if every.exists() else None
    if promised and listed and promised != listed:
        raise CheckpointError(f"{shown(str(own))} and {ALL_SUMS} contradict each other", "write both again")
    return promised or listed


def check_promise(file: Path, sha256: str) -> None:
    """Refuse a file whose SHA-256 is not the one promised beside it.

    Raises:
        CheckpointError: naming the file; also as `promised_sha256`.
    """
    promised = promised_sha256(file)
    if promised is not None and promised != sha256:
        raise CheckpointError(
            f"{shown(str(file))} is damaged: its SHA-256 is not the one written beside it",
            "copy the file again, or write its sum anew if the change is meant",
        )


def _sums_in(path: Path) -> dict[str, str]:
    try:
        text = read_regular(path, _MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror or error}") from error
    sums = {}
    for line in text.splitlines():
        if tagged := _TAGGED.fullmatch(line.strip()):
            sums[tagged[1].removeprefix("./")] = tagged[2].lower()
        elif plain := _PLAIN.fullmatch(line.strip()):
            sums[(plain[2] or path.name.removesuffix(_OWN_SUM)).removeprefix("./")] = plain[1].lower()
    return sums
