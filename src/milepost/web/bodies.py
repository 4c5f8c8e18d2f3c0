"""Finished answers, which browsers keep as long as nothing has changed."""

from __future__ import annotations

import gzip
import hashlib
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
