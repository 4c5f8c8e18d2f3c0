"""Reads the records of a `.wandb` file with wandb's own message types.

wandb's Python package no longer has a reader: a file is `:W&B`, two bytes, a version, and then records in
LevelDB's log format (https://github.com/google/leveldb/blob/main/doc/log_format.md).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE_HEADER = 7
BLOCK = 32 * 1024
RECORD_HEADER = struct.Struct("<IHB")  # checksum, length, kind
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    """Every `wandb_internal_pb2.Record` of the file."""
    from wandb.proto import wandb_internal_pb2

    for data in _payloads(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def history(path: Path) -> list[dict[str, Any]]:
    """What was logged, an entry per call of `log`."""
    rows = []
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return rows


def _payloads(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    at, whole = FILE_HEADER, b""
    while at + RECORD_HEADER.size <= len(data):
        left = BLOCK - at % BLOCK
        if left < RECORD_HEADER.size:
            at += left
            continue
        _, length, kind = RECORD_HEADER.unpack_from(data, at)
        if kind not in (FULL, FIRST, MIDDLE, LAST):
            return
        whole += data[at + RECORD_HEADER.size : at + RECORD_HEADER.size + length]
        at += RECORD_HEADER.size + length
        if kind in (FULL, LAST):
            yield whole
            whole = b""
