"""Make requests to the Hub, again while it is busy, and explain failures.

`HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` are huggingface_hub's; it is imported only when needed.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from milepost.errors import MilepostError, SourceError
from milepost.network.environment_urls import check_hub_settings, hub_endpoint, hub_transport_error
from milepost.text.language import Phrase
from milepost.text.messages import first_line, shown

logger = logging.getLogger("milepost.sources")

T = TypeVar("T")

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses between attempts while the Hub is busy; huggingface_hub itself repeats some requests."""
_N_ATTEMPTS_UNANSWERED = 4
"""Attempts if there is no response at all, which is more often a wrong address than a pause."""
_LONGEST_PAUSE_S = 600.0
"""Longest pause that a Hub may ask for (`Retry-After`); huggingface.co counts in windows of 300 s."""
_WORTH_SAYING_S = 5.0
_NO_SPACE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
)
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED = frozenset({401, 403, 404})


def ask_hub(request: Callable[[], T], *, what: str, error: type[MilepostError] = SourceError) -> T:
    """Make a request, again after a pause while the Hub is busy or the connection is bad.

    Args:
        what: the object of the request, for messages (`hf://org/name`).
        error: class of the error when the request fails for good.

    Raises:
        RevisionNotFoundError: huggingface_hub's error, since only the caller knows similar names.
    """
    check_hub_settings(error)
    from huggingface_hub.errors import (
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = shown(what)
    for attempt in range(len(PAUSES_S) + 1):
        try:
            return request()
        except RevisionNotFoundError:
            raise
        except RepositoryNotFoundError as refusal:
            raise _refused(what, refusal, error) from refusal
        except OfflineModeIsEnabled as refusal:
            raise error(
                Phrase("{what} is not in the local cache", what=what), "unset HF_HUB_OFFLINE to download it"
            ) from refusal
        except HFValidationError as refusal:
            raise error(
                Phrase("{what} is not an address on the Hub: {reason}", what=what, reason=_one_line(refusal))
            ) from refusal
        except transport_errors() as failure:
            if _status(failure) in _REFUSED:
                raise _refused(what, failure, error) from failure
            wait_s = _pause_after(failure, attempt)
            if wait_s is None:
                raise _unreachable(what, failure, error) from failure
            if wait_s > _WORTH_SAYING_S:
                logger.warning("%s: the Hub is busy; next attempt in %.0f s", what, wait_s)
            time.sleep(wait_s)
        except OSError as failure:  # from the disk, or a file shorter than announced
            if failure.errno in _NO_SPACE or attempt >= _N_ATTEMPTS_UNANSWERED - 1:
                raise error(
                    Phrase(
                        "{what} cannot be stored: {strerror}",
                        what=what,
                        strerror=failure.strerror or _one_line(failure),
                    ),
                    "look at the Hub cache (HF_HOME) with `milepost doctor`",
                ) from failure
            time.sleep(PAUSES_S[attempt])
    raise AssertionError("unreachable: the last attempt returns or raises")


def _refused(what: str, failure: Exception, error: type[MilepostError]) -> MilepostError:
    """Return the error for a refusal: gated repository, wrong token, missing permission or no such file."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import DisabledRepoError, GatedRepoError, RepositoryNotFoundError

    where, status, has_token = hub_endpoint(), _status(failure), bool(get_token())
    text = str(_response(failure).headers.get("X-Error-Message", "")) if _response(failure) else ""
    if isinstance(failure, GatedRepoError):
        if has_token:
            return error(
                Phrase(
                    "{what}: its repository is gated, and the account of HF_TOKEN has no access ({status})",
                    what=what,
                    status=status,
                ),
                Phrase(
                    "ask for access on its page at {where}, or use the token of an account that has it",
                    where=where,
                ),
            )
        return error(
            Phrase(
                "{what}: its repository is gated, and no token is set ({status})", what=what, status=status
            ),
            Phrase("accept its conditions on its page at {where}, then set HF_TOKEN", where=where),
        )
    if isinstance(failure, DisabledRepoError):
        return error(
            Phrase("{what}: its repository has been disabled at {where}", what=what, where=where),
            "nobody can download it",
        )
    if (
        status == 401
        and has_token
        and ("Invalid" in text or not isinstance(failure, RepositoryNotFoundError))
    ):
        return error(
            Phrase("{what}: {where} refuses the token (401)", what=what, where=where),
            "set HF_TOKEN to a valid token, or for public repositories unset it (`hf auth logout`)",
        )
    if isinstance(failure, RepositoryNotFoundError) or (status == 401 and not has_token):
        return error(
            Phrase(
                "{what}: there is no such repository at {where}, or it is private ({status})",
                what=what,
                where=where,
                status=status,
            ),
            "check the name; the account of HF_TOKEN cannot see it"
            if has_token
            else "check the name; for private and gated repositories set HF_TOKEN",
        )
    if status == 403:
        return error(
            Phrase(
                "{what} cannot be fetched from {where}: access is forbidden (403)", what=what, where=where
            ),
            "the token has no permission to read it (fine-grained tokens are limited to repositories)"
            if has_token
            else "set HF_TOKEN to the token of an account that may read it",
        )
    return error(
        Phrase("{what} cannot be fetched from {where}: a file is missing (404)", what=what, where=where),
        "the mirror is incomplete, or the repository changed just now; try again, or another HF_ENDPOINT",
    )


def transport_errors() -> tuple[type[Exception], ...]:
    """Return the errors that huggingface_hub raises when the network fails."""
    from huggingface_hub import errors

    return (
        hub_transport_error(),
        ConnectionError,
        TimeoutError,
        errors.LocalEntryNotFoundError,
        errors.FileMetadataError,
    )


def is_offline() -> bool:
    """Return True if only the local cache may be used (`HF_HUB_OFFLINE`)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _response(failure: Exception) -> Any:
    return getattr(failure, "response", None) or getattr(failure.__cause__, "response", None)


def _status(failure: Exception) -> int | None:
    response = _response(failure)
    return None if response is None else int(response.status_code)


def _pause_after(failure: Exception, attempt: int) -> float | None:
    """Return the seconds before the next attempt; None if there is none or it would not help."""
    response = _response(failure)
    if attempt >= len(PAUSES_S):
        return None
    if response is None:
        return PAUSES_S[attempt] if attempt < _N_ATTEMPTS_UNANSWERED - 1 else None
    if response.status_code not in _BUSY:
        return None
    asked_s = _seconds(response.headers.get("Retry-After", ""))
    return PAUSES_S[attempt] if asked_s is None else min(asked_s, _LONGEST_PAUSE_S)


def _seconds(retry_after: str) -> float | None:
    """Parse the forms of RFC 9110, a number of seconds or a date; None for anything else."""
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:9])
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return None
    return max(0.0, date.timestamp() - time.time())


def _unreachable(what: str, failure: Exception, error: type[MilepostError]) -> MilepostError:
    return error(
        Phrase(
            "{what} cannot be fetched from {where}: {reason}",
            what=what,
            where=hub_endpoint(),
            reason=_one_line(_reason(failure)),
        ),
        Phrase(
            "check HF_ENDPOINT (now {where}), or set HF_HUB_OFFLINE=1 to use only the cache",
            where=hub_endpoint(),
        ),
    )


def _reason(failure: Exception) -> Exception:
    """Return the cause of huggingface_hub's error that the file is not in the cache either."""
    cause = failure.__cause__
    return cause if isinstance(cause, Exception) else failure


def _one_line(error: Exception) -> str:
    """Return the first line of a response or error, without the credentials that were sent."""
    from huggingface_hub import constants, get_token

    text = str(error).replace(constants.ENDPOINT, hub_endpoint())
    if token := get_token():
        text = text.replace(token, "***")
    return first_line(type(error).__name__ if not text.strip() else text)
