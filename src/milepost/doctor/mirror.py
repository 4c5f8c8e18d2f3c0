"""Check the Hub or mirror (`HF_ENDPOINT`): whether it answers, its speed and its clock."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from milepost.doctor.finding import Finding
from milepost.network.environment_urls import hub_endpoint, shown_endpoint
from milepost.sources.hub.requests import is_offline
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase
from milepost.text.messages import first_line

_TIMEOUT_S = 5.0
_LONGEST_READ_S = 4.0
_PROBE = "/openai-community/gpt2/resolve/main/vocab.json"
"""A megabyte that every mirror has."""
_SLOW = 1e6
"""Bytes per second; a model of 500M parameters in bf16 then takes a quarter of an hour."""
_LARGEST_SKEW_S = 60.0


@dataclass(frozen=True, slots=True)
class _Answer:
    bytes_per_s: float | None
    """None if the mirror does not have the file used for the measurement."""
    skew_s: float | None
    """Seconds that its clock is ahead of ours; None if it sends no time."""


def check_mirror() -> Iterator[Finding]:
    """Reachability, speed and clock, within some ten seconds. Sends no token."""
    if is_offline():
        yield Finding("mirror", "ok", "not asked: HF_HUB_OFFLINE is set, only the cache is used")
        return
    try:
        answer = _ask()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield Finding(
            "mirror",
            "broken",
            Phrase(
                "{address} does not answer: {reason}",
                address=shown_endpoint(),
                reason=first_line(str(reason)),
            ),
            "set HF_ENDPOINT to a mirror you can reach, or HF_HUB_OFFLINE=1 to use only what is cached",
        )
        return
    yield _speed(answer)
    yield _clock(answer)


def _ask() -> _Answer:
    request = urllib.request.Request(hub_endpoint() + _PROBE, headers={"User-Agent": "milepost-doctor"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:
            skew_s = _skew(reply.headers.get("Date"))
            return _Answer(_bytes_per_s(reply), skew_s)
    except urllib.error.HTTPError as refusal:
        if refusal.code in {401, 403, 404}:  # it is there, and has no such file for us
            return _Answer(None, _skew(refusal.headers.get("Date")))
        raise OSError(f"HTTP {refusal.code} {refusal.reason}") from refusal


def _bytes_per_s(reply: http.client.HTTPResponse) -> float:
    start, n_bytes = time.monotonic(), 0
    while time.monotonic() - start < _LONGEST_READ_S and (block := reply.read(1 << 16)):
        n_bytes += len(block)
    return n_bytes / max(time.monotonic() - start, 1e-6)


def _skew(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date or "").timestamp() - time.time()
    except (TypeError, ValueError):
        return None


def _speed(answer: _Answer) -> Finding:
    if answer.bytes_per_s is None:
        return Finding(
            "mirror",
            "ok",
            Phrase("{address} answers; speed not measured", address=shown_endpoint()),
        )
    told = Phrase(
        "{address} answers, {speed}/s", address=shown_endpoint(), speed=format_bytes(answer.bytes_per_s)
    )
    if answer.bytes_per_s < _SLOW:
        return Finding("mirror", "warning", told, "try a nearer mirror (HF_ENDPOINT); downloads are resumed")
    return Finding("mirror", "ok", told)


def _clock(answer: _Answer) -> Finding:
    if answer.skew_s is None:
        return Finding("clock", "ok", "not compared: the mirror tells no time")
    if abs(answer.skew_s) > _LARGEST_SKEW_S:
        off = abs(answer.skew_s)
        if answer.skew_s > 0:
            told = Phrase("{seconds:.0f} s behind the mirror's", seconds=off)
        else:
            told = Phrase("{seconds:.0f} s ahead of the mirror's", seconds=off)
        return Finding(
            "clock",
            "warning",
            told,
            "set it (timedatectl set-ntp true): leases and secure connections go by it",
        )
    return Finding(
        "clock", "ok", Phrase("within {seconds:.0f} s of the mirror's", seconds=max(abs(answer.skew_s), 1))
    )
