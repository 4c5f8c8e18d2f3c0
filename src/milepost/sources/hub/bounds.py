"""Bounds on what a Hub may answer: bytes of a body, number of requests, seconds without progress.

huggingface_hub reads whatever comes, for as long as it comes; a broken or hostile mirror could fill memory
and disk or keep a run waiting for ever. Its HTTP client is made once for the process. Here that client's
transport is wrapped: inside `bounded` each answer to this thread is counted; elsewhere nothing changes.
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
"""Of one answer of the Hub's API; a page of a listing has some 100 KB."""
MAX_REQUESTS = 300
"""For one listing; a page holds 1,000 files or more."""
HINT = "this mirror is broken or not to be trusted (HF_ENDPOINT)"
SILENCE_S = 60.0
JUDGED_AFTER_S = 30.0
_SLOWEST = 1_000
"""Bytes per second that an answer must have reached after `JUDGED_AFTER_S`."""

_here = threading.local()


class HubMisbehaves(MilepostError):
    """The Hub answers more than it can mean; asking again would not help."""


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
    """Bound what the Hub may answer to this thread.

    Args:
        what: what is asked for, for messages.
        max_bytes: of the body of each answer.
        error: raised in place of `HubMisbehaves`.

    Raises:
        MilepostError: of the kind `error`: an answer was longer, or did not come on.
    """
    _wrap_client()
    before = getattr(_here, "bounds", None)
    _here.bounds = _Bounds(what, error, max_bytes, MAX_REQUESTS)
    try:
        yield
    except HubMisbehaves as refusal:
        raise error(refusal.message, refusal.hint) from refusal
    finally:
        _here.bounds = before


def _wrap_client() -> None:
    """Put the bounds into huggingface_hub's client, which it makes anew after a fork or an update."""
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
    """The client's transport; the body of an answer within `bounded` is counted as it is read."""

    def __init__(self, inner: Any, stream_class: type) -> None:
        self._inner = inner
        self._counted = type("Counted", (_Counted, stream_class), {})

    def handle_request(self, request: Any) -> Any:
        """As httpx calls it."""
        bounds: _Bounds | None = getattr(_here, "bounds", None)
        if bounds is None:
            return self._inner.handle_request(request)
        bounds.requests_left -= 1
        if bounds.requests_left < 0:
            raise bounds.broken("its listing does not end")
        timeout = request.extensions.get("timeout") or {}
        request.headers["Accept-Encoding"] = "identity"  # what is counted is then what is kept
        patience = {name: timeout.get(name) or SILENCE_S for name in ("connect", "read", "write", "pool")}
        request.extensions = {**request.extensions, "timeout": patience}
        try:
            response = self._inner.handle_request(request)
        except Exception as failure:  # of the HTTP library, whose name differs between versions
            if "buffer too long" in str(failure):
                raise bounds.broken("an answer whose header does not end") from failure
            raise
        if response.headers.get("content-encoding", "identity") != "identity":
            response.close()
            raise bounds.broken("a compressed answer, which was not asked for")
        announced = response.headers.get("content-length", "")
        if request.method != "HEAD" and announced.isdecimal() and int(announced[:18]) > bounds.max_bytes:
            response.close()
            raise bounds.broken(f"an answer of {announced[:18]} bytes, {bounds.max_bytes} at most make sense")
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
    """The body of an answer, refused once it is too long or too slow."""

    def __init__(self, inner: Any, bounds: _Bounds) -> None:
        self._inner = inner
        self._bounds = bounds

    def __iter__(self) -> Iterator[bytes]:
        n_bytes, began = 0, time.monotonic()
        for part in self._inner:
            n_bytes += len(part)
            took_s = time.monotonic() - began
            if n_bytes > self._bounds.max_bytes:
                raise self._bounds.broken(f"an answer of more than {self._bounds.max_bytes} bytes")
            if took_s > JUDGED_AFTER_S and n_bytes < took_s * _SLOWEST:
                raise self._bounds.broken(f"{n_bytes} bytes came in {took_s:.0f} s")
            yield part

    def close(self) -> None:
        """Close the answer."""
        self._inner.close()
