"""Finished answers, made once for all readers and kept as long as nothing has changed."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property

from starlette.datastructures import Headers
from starlette.responses import Response

SMALL = 1_000
"""Bytes; a shorter answer is not compressed."""


@dataclass(frozen=True)
class Body:
    """The content of an answer."""

    content: bytes
    media_type: str

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:24]}"'

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.content, 5, mtime=0)

    def response(self, headers: Headers) -> Response:
        """Return the answer to a request with these headers: 304 where the browser has it already."""
        own = {
            "etag": self.etag,
            "cache-control": "no-cache",
            "vary": "Accept, Accept-Language, Accept-Encoding",
        }
        if self.etag in [
            each.strip().removeprefix("W/") for each in headers.get("if-none-match", "").split(",")
        ]:
            return Response(status_code=304, headers=own)
        if len(self.content) < SMALL or "gzip" not in headers.get("accept-encoding", ""):
            return Response(self.content, headers=own, media_type=self.media_type)
        own["content-encoding"] = "gzip"
        return Response(self.compressed, headers=own, media_type=self.media_type)


class BodyCache:
    """The newest bodies; of several requests for one that is not there, one makes it and the others wait."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Body] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], Body]) -> Body:
        """Return the body of a key, made now where it is not kept; what `make` raises is raised."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._kept:
                    return self._kept[key]
            try:
                body = make()
                with self._lock:
                    self._keep(key, body)
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return body

    def _keep(self, key: Hashable, body: Body) -> None:
        self._kept[key] = body
        total = sum(len(kept.content) for kept in self._kept.values())
        while total > self._most_bytes and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            total -= len(dropped.content)
