"""Limit a Hub's responses: bytes of a body, number of requests, seconds without progress.

huggingface_hub reads without a limit, so that a broken or hostile mirror could fill memory and disk or stop a
run for ever. Its HTTP client, of which a process has one, gets a wrapped transport: inside `bounded` each
response to this thread is counted; elsewhere nothing changes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from milepost.errors import MilepostError, SourceError

MAX_ANSWER_BYTES = 1 << 26
"""Limit for one response of the Hub's API; a page of a listing has about 100 KB."""
MAX_REQUESTS = 300
"""Limit for one listing; a page has 1,000 files or more."""
HINT = "this mirror is broken or not to be trusted (HF_ENDPOINT)"
SILENCE_S = 60.0
JUDGED_AFTER_S = 30.0
_SLOWEST = 1_000
"""Bytes per second that a response must have reached after `JUDGED_AFTER_S`."""

_thread = threading.local()


class HubMisbehaves(MilepostError):
    """The Hub's response breaks a limit; another request would not help."""


@dataclass(slots=True)
class _Bounds:
    what: str
    error: type[MilepostError]
    max_bytes: int
    requests_left: int

    def broken(self, how: str) -> HubMisbehaves:
        return HubMisbehaves(f"{self.what}: {how}", HINT)


@contextmanager
def bounded(
    what: str,
    *,
    max_bytes: int = MAX_ANSWER_BYTES,
    error: type[MilepostError] = SourceError,
) -> Iterator[None]:
    """Limit the Hub's responses to this thread.

    Args:
        what: the object of the requests, for messages.
        max_bytes: limit for the body of each response.
        error: raised in place of `HubMisbehaves`.

    Raises:
        MilepostError: of the kind `error`: a response was too long or too slow.
    """
    _wrap_client()
    before = getattr(_thread, "bounds", None)
    _thread.bounds = _Bounds(what, error, max_bytes, MAX_REQUESTS)
    try:
        yield
    except HubMisbehaves as refusal:
        raise error(refusal.message, refusal.hint) from refusal
    finally:
        _thread.bounds = before


def _wrap_client() -> None:
    """Wrap the transport of huggingface_hub's client, which is made again after a fork or an update."""
    from huggingface_hub.utils import get_session

    client: Any = get_session()
    if isinstance(client._transport, _BoundedTransport):
        return
    stream_class = sys.modules[type(client).__module__.partition(".")[0]].SyncByteStream
    client._mounts = {
        pattern: transport and _BoundedTransport(transport, stream_class)
        for pattern, transport in client._mounts.items()
    }
    client._transport = _BoundedTransport(client._transport, stream_class)


class _BoundedTransport:
    """The client's transport; inside `bounded` it counts the bodies of responses as they are read."""

    def __init__(self, inner: Any, stream_class: type) -> None:
        self._inner = inner
        self._counted = type("Counted", (_Counted, stream_class), {})

    def handle_request(self, request: Any) -> Any:
        """Handle a request, as httpx calls it."""
        bounds: _Bounds | None = getattr(_thread, "bounds", None)
        if bounds is None:
            return self._inner.handle_request(request)
        bounds.requests_left -= 1
        if bounds.requests_left < 0:
            raise bounds.broken("its listing does not end")
        timeout = request.extensions.get("timeout") or {}
        request.headers["Accept-Encoding"] = "identity"  # so that the counted bytes are the kept ones
        patience = {name: timeout.get(name) or SILENCE_S for name in ("connect", "read", "write", "pool")}
        request.extensions = {**request.extensions, "timeout": patience}
        try:
            response = self._inner.handle_request(request)
        except Exception as failure:  # from the HTTP library, whose name differs between versions
            if "buffer too long" in str(failure):
                raise bounds.broken("a response whose header does not end") from failure
            raise
        if response.headers.get("content-encoding", "identity") != "identity":
            response.close()
            raise bounds.broken("a compressed response, which was not requested")
        announced = response.headers.get("content-length", "")
        if request.method != "HEAD" and announced.isdecimal() and int(announced[:18]) > bounds.max_bytes:
            response.close()
            raise bounds.broken(
                f"a response of {announced[:18]} bytes, more than the limit of {bounds.max_bytes}"
            )
        response.stream = self._counted(response.stream, bounds)
        return response

    def __enter__(self) -> _BoundedTransport:
        self._inner.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._inner.__exit__(*details)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class _Counted:
    """The body of a response, refused once it is too long or too slow."""

    def __init__(self, inner: Any, bounds: _Bounds) -> None:
        self._inner = inner
        self._bounds = bounds

    def __iter__(self) -> Iterator[bytes]:
        n_bytes, began = 0, time.monotonic()
        for part in self._inner:
            n_bytes += len(part)
            took_s = time.monotonic() - began
            if n_bytes > self._bounds.max_bytes:
                raise self._bounds.broken(f"a response of more than {self._bounds.max_bytes} bytes")
            if took_s > JUDGED_AFTER_S and n_bytes < took_s * _SLOWEST:
                raise self._bounds.broken(f"{n_bytes} bytes came in {took_s:.0f} s")
            yield part

    def close(self) -> None:
        """Close the response."""
        self._inner.close()
