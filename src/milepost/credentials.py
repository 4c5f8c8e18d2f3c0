"""Passwords, keys and tokens never leave memory: they are replaced by `***` in whatever is written or said.

A secret is known by where it stands (before the `@` of an address, behind `api_key=`), by its form (`hf_...`,
`sk-...`), or because it is one: what `remember` was given, the values of environment variables with the names
of keys, and passwords in those with the names of addresses (`HF_ENDPOINT`, `HTTPS_PROXY`). Records, logs,
error messages, recorders and the command that is stored all go through here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
SHORTEST = 8
"""Characters; a shorter value of an environment variable is as likely a word of the text."""

SHORTEST_PARAMETER = 6

_NAMES = r"api[-_]?key|apikey|authorization|passw(?:or)?d|secret|(?:access|auth|hf|bearer)[-_]?token"
_ENVIRONMENT = re.compile(r"(?:^|_)(?:KEY|APIKEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:^|_)(?:ENDPOINT|PROXY|URL)$", re.IGNORECASE)
_ENTRY = re.compile(_NAMES, re.IGNORECASE)
_FORMS = re.compile(
    r"(?<=://)[^/?#\s'\"@]*:[^/\s'\"]*(?=@)"  # name and password; hf://gpt2@main has none
    r"|(?<=https://)[^/\s'\"]+(?=@)|(?<=http://)[^/\s'\"]+(?=@)"
    r"|\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{16,}"
    r"|(?<=[Bb]earer )[^\s'\"]+"
)
_PARAMETER = re.compile(
    r"([?&][a-z_-]*(?:token|key|secret|sig|signature|password|credential|policy)=)[^&#\s'\"]+", re.IGNORECASE
)
"""What a signed address ends in."""
_ASSIGNED = re.compile(rf"\b((?:{_NAMES})\\*[\"']?\s*[:=]\s*\\*[\"']?)[^\s\"'\\&,;}}]+", re.IGNORECASE)
_HTTP_USER = re.compile(r"^https?://(?P<user>.*)@", re.IGNORECASE)
"""Up to the last `@`, as a password may hold any character."""
_WITH_PASSWORD = re.compile(r"^(?:[a-z]+://)?(?P<user>[^/@]*:[^/@]+)@", re.IGNORECASE)
"""Of other addresses; `hf://org/name@main` has none."""
_TAIL = re.compile(r"^https?://[^?#]*[?#](?P<tail>.+)$", re.IGNORECASE | re.DOTALL)

_remembered: set[str] = set()
_remembered_parameters: set[str] = set()
"""`name=` and value, as they stand in an address."""


def remember(address: str) -> None:
    """Keep the credentials in the address of a server or a source from being shown, however they are spelled.

    These are name and password, and all that follows a `?` or `#` of an http address: servers name the
    parameter that holds a key as they like (`code=`, `k=`).
    """
    if tail := _TAIL.match(address):
        for part in re.split("[?&#;]", tail["tail"]):
            value = part.partition("=")[2] or part
            if len(value) >= SHORTEST_PARAMETER and ("=" in part or _is_key(part)):
                _remembered_parameters.update((part, unquote(part)))
    found = _HTTP_USER.match(address)
    if found is None or _is_host(found["user"]):
        found = None if found else _WITH_PASSWORD.match(address)
    if found is None:
        return
    user, _, password = found["user"].partition(":")
    for secret in (found["user"], unquote(found["user"]), password or user, unquote(password or user)):
        if len(secret) >= 3:
            _remembered.add(secret)


def _is_host(text: str) -> bool:
    """Whether it is a host with a path that has an `@` in it, and no name and password."""
    host, slash, _ = text.partition("/")
    return bool(slash) and (":" not in host or host.rpartition(":")[2].isdigit())


def without_secrets(text: str) -> str:
    """The text with `***` for passwords, keys and tokens."""
    for name, value in os.environ.items():
        if "@" in value and _ADDRESS.search(name):
            remember(value)
    for secret in _known():
        text = text.replace(secret, HIDDEN)
    for parameter in sorted(_remembered_parameters, key=len, reverse=True):
        name, equals, _ = parameter.partition("=")
        text = text.replace(parameter, f"{name}={HIDDEN}" if equals else HIDDEN)
    text = _FORMS.sub(HIDDEN, text)
    text = _PARAMETER.sub(rf"\1{HIDDEN}", text)
    return _ASSIGNED.sub(rf"\1{HIDDEN}", text)


def redacted(value: Any) -> Any:
    """A value of JSON with `***` for the secrets in it."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if isinstance(one, str) and one and _ENTRY.fullmatch(str(key)) else redacted(one)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(one) for one in value]
    return value


def _known() -> list[str]:
    """Secrets themselves, the longest first."""
    own = {value for name, value in os.environ.items() if _ENVIRONMENT.search(name) and _is_key(value)}
    return sorted(own | _remembered, key=len, reverse=True)


def _is_key(value: str) -> bool:
    """Whether a value is long and mixed enough to be no word that a text may hold by chance."""
    return len(value) >= SHORTEST and (len(value) >= 20 or not value.replace("-", "").isalpha())
