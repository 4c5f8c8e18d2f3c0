"""Put a checksum into the file that it protects, so that a record copied alone still has it.

A record is written with a mark followed by 64 zeros; then the SHA-256 of all its bytes replaces the zeros. A
check puts them back. Every format with room for a short text will do: an entry in JSON, a key in Parquet.
"""

from __future__ import annotations

import hashlib

from milepost.errors import ResultsError

MARK = b"milepost-sha256:"
OPEN = MARK + b"0" * 64
"""Placeholder in a record that is not sealed yet."""


def seal(data: bytes) -> bytes:
    """Return `data` with its checksum in place of the last `OPEN`; the length stays."""
    at = data.rindex(OPEN)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:at] + MARK + digest + data[at + len(OPEN) :]


def is_sealed(data: bytes) -> bool:
    """Return whether `data` has a checksum.

    Raises:
        ResultsError: the checksum is of other bytes; the message does not name the file.
    """
    at = data.rfind(MARK)
    if at < 0:
        return False
    written = data[at + len(MARK) : at + len(OPEN)]
    # Fed in parts: a copy of a file with a mark set back costs more than its checksum.
    whole = memoryview(data)
    digest = hashlib.sha256(whole[:at])
    digest.update(OPEN)
    digest.update(whole[at + len(OPEN) :])
    if digest.hexdigest().encode() != written:
        raise ResultsError("its bytes are not those its checksum is of")
    return True
