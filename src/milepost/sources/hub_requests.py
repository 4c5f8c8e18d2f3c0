"""Requests to the Hub: tried again when it is busy, and explained when they fail. Knows no checkpoints.

`HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` are huggingface_hub's; it is imported here only when needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from milepost.errors import MilepostError, SourceError
from milepost.sources.names import first_line

T = TypeVar("T")

_PAUSES_S = (0.5, 2.0, 5.0)
_LONGEST_PAUSE_S = 60.0
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


def ask_hub(request: Callable[[], T], *, what: str, error: type[MilepostError] = SourceError) -> T:
    """Make a request, again after a pause while the Hub is busy or the line is bad.

    Args:
        what: what is asked for, for messages (`hf://org/name`).
        error: raised, with the Hub's address, when it fails for good.

    Raises:
        RevisionNotFoundError: huggingface_hub's own; only the caller knows which names are near.
    """
    from huggingface_hub.errors import (
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    for pause_s in (*_PAUSES_S, None):
        try:
            return request()
        except RevisionNotFoundError:
            raise
        except RepositoryNotFoundError as refusal:
            raise error(
                f"{what}: there is no such repository at {endpoint()}, or it is private",
                "check the name; for private and gated repositories set HF_TOKEN",
            ) from refusal
        except OfflineModeIsEnabled as refusal:
            raise error(
                f"{what} is not in the local cache", "unset HF_HUB_OFFLINE to download it"
            ) from refusal
        except HFValidationError as refusal:
            raise error(f"{what} is no address on the Hub: {_one_line(refusal)}") from refusal
        except transport_errors() as failure:
            wait_s = _pause_after(failure, pause_s)
            if wait_s is None:
                raise _unreachable(what, failure, error) from failure
            time.sleep(wait_s)
    raise AssertionError("unreachable: the last attempt returns or raises")


def transport_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub lets through when the network fails; its HTTP library differs between versions."""
    from huggingface_hub import errors

    base = next(kind for kind in errors.HfHubHTTPError.__mro__[1:] if kind.__name__ == "HTTPError")
    return (base, ConnectionError, TimeoutError, errors.LocalEntryNotFoundError, errors.FileMetadataError)


def endpoint() -> str:
    """The Hub's address without the credentials it may hold."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host))


def is_offline() -> bool:
    """Whether only the local cache may be used (`HF_HUB_OFFLINE`)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _pause_after(failure: Exception, pause_s: float | None) -> float | None:
    """Seconds to wait before the next attempt; None where there is none or it would not help."""
    response = getattr(failure, "response", None) or getattr(failure.__cause__, "response", None)
    if pause_s is None or (response is not None and response.status_code not in _BUSY):
        return None
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(asked), _LONGEST_PAUSE_S) if asked.isdecimal() else pause_s


def _unreachable(what: str, failure: Exception, error: type[MilepostError]) -> MilepostError:
    return error(
        f"{what} cannot be fetched from {endpoint()}: {_one_line(_reason(failure))}",
        f"check HF_ENDPOINT (now {endpoint()}), or set HF_HUB_OFFLINE=1 to use only the cache",
    )


def _reason(failure: Exception) -> Exception:
    """What lies behind huggingface_hub's remark that the file is not in the cache either."""
    cause = failure.__cause__
    return cause if isinstance(cause, Exception) else failure


def _one_line(error: Exception) -> str:
    from huggingface_hub import constants

    return first_line(error).replace(constants.ENDPOINT, endpoint())
