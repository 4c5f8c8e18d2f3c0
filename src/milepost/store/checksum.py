"""A checksum inside the file it is of, so that a record copied alone still carries it.

A record is written with a mark followed by 64 zeros; the SHA-256 of all its bytes then takes the place of
the zeros. To check, they are put back. Any format will do that has room for a short text: an entry in JSON,
a key in Parquet.
"""

from __future__ import annotations

import hashlib

from milepost.errors import ResultsError

MARK = b"milepost-sha256:"
OPEN = MARK + b"0" * 64
"""What a record holds before it is sealed."""


def seal(data: bytes) -> bytes:
    """`data` with its checksum in place of the last `OPEN`; the length stays."""
    at = data.rindex(OPEN)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:at] + MARK + digest + data[at + len(OPEN) :]


def is_sealed(data: bytes) -> bool:
    """Whether `data` carries a checksum at all.

    Raises:
        ResultsError: it does, and the checksum is of other bytes; the message says so without a name.
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
