"""Explain why a request to an object store failed, and tell whether another attempt may succeed."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from milepost.errors import BucketError
from milepost.text.credentials import without_secrets
from milepost.text.language import Phrase

_TRANSIENT = frozenset({errno.EBUSY, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE})
_LIBRARIES = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "fsspec")
_ENDPOINT_HINT = Phrase("check the name, and AWS_ENDPOINT_URL for a server that is not Amazon's")
_CREDENTIALS_HINTS = {
    "s3": Phrase("set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    "gs": Phrase("`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"),
}
_REFUSED_CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")


def no_bucket(scheme: str, name: str) -> BucketError:
    """Return the error for a bucket that does not exist."""
    return BucketError(
        Phrase("there is no bucket {name} at {endpoint}", name=name, endpoint=endpoint(scheme)),
        _ENDPOINT_HINT,
    )


def explained(where: str, failure: Exception, *, writes: bool) -> BucketError:
    """Return the error for a request that failed after every retry.

    Args:
        where: the address of the object or folder.
        writes: whether the request was to write.
    """
    scheme = where.partition(":")[0]
    where = where.partition("/.milepost-")[0]  # an object that tries whether the folder can be written
    what = (
        Phrase("{where} cannot be written", where=where)
        if writes
        else Phrase("{where} cannot be read", where=where)
    )
    kind, code = type(failure).__name__, code_of(failure)
    if "Credentials" in kind or kind in ("TokenRetrievalError", "ProfileNotFound"):
        return BucketError(
            Phrase("{what}: there are no credentials for {scheme}://", what=what, scheme=scheme),
            _CREDENTIALS_HINTS[scheme],
        )
    if code in _REFUSED_CREDENTIALS:
        return BucketError(
            Phrase("{what}: the credentials are refused ({code})", what=what, code=code),
            _CREDENTIALS_HINTS[scheme],
        )
    if isinstance(failure, PermissionError):
        rights = "list, read, write and delete" if writes else "list and read"
        return BucketError(
            Phrase("{what}: permission denied", what=what),
            Phrase("these credentials need the right to {rights} there", rights=rights),
        )
    if _is_silence(failure):
        return BucketError(
            Phrase("{what}: {endpoint} does not answer", what=what, endpoint=endpoint(scheme)), _ENDPOINT_HINT
        )
    return BucketError(Phrase("{what}: {reason}", what=what, reason=reason_of(failure)), _ENDPOINT_HINT)


def endpoint(scheme: str) -> str:
    """Return the address of the store, for messages."""
    if scheme == "gs":
        return os.environ.get("STORAGE_EMULATOR_HOST") or "Google Cloud Storage"
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return without_secrets(named) if named else "Amazon S3"


def code_of(failure: BaseException) -> str | None:
    """Return the store's own code of a refusal; s3fs keeps the answer as the cause of its error."""
    for error in (failure, failure.__cause__, failure.__context__):
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            return str(response.get("Error", {}).get("Code"))
    return None


def is_from_the_store(failure: Exception) -> bool:
    """Return whether an exception is an answer, or the lack of one, and not a bug."""
    return isinstance(failure, OSError) or type(failure).__module__.partition(".")[0] in _LIBRARIES


def may_pass(failure: Exception) -> bool:
    """Return whether another attempt may succeed: the store was busy, or the connection broke."""
    if isinstance(failure, PermissionError):
        return False
    if isinstance(failure, OSError) and failure.errno is not None:
        return failure.errno in _TRANSIENT or _is_silence(failure)
    return _is_silence(failure) or not isinstance(failure, OSError)


def reason_of(failure: Exception) -> str:
    """Return the first line of a failure's text, without credentials."""
    text = str(getattr(failure, "strerror", None) or failure).strip()
    return without_secrets(text.splitlines()[0]) if text else type(failure).__name__


def _is_silence(failure: Exception) -> bool:
    kind = type(failure).__name__
    is_broken = isinstance(failure, ConnectionError | TimeoutError)
    return is_broken or "Connect" in kind or "Timeout" in kind
