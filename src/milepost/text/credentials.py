"""Replace passwords, keys and tokens by `***` in everything that is written or printed.

A secret is recognised by its place (before the `@` of an address, after `api_key=`), by its form (`hf_...`,
`sk-...`), or by its value: credentials given to `remember`, environment variables with the names of keys, and
passwords and keys in those with the names of addresses (`HF_ENDPOINT`, `HTTPS_PROXY`). Records, logs, error
messages, recorders and the stored command all use this module.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
SHORTEST = 8
"""Fewest characters of a secret in an environment variable; a shorter value may be a normal word."""

SHORTEST_PARAMETER = 6

_NAMES = r"api[-_]?key|apikey|authorization|passw(?:or)?d|secret|(?:access|auth|hf|bearer)[-_]?token"
_ENVIRONMENT = re.compile(r"(?:^|_)(?:KEY|APIKEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:^|_)(?:ENDPOINT|PROXY|URL)$", re.IGNORECASE)
_ENTRY = re.compile(_NAMES, re.IGNORECASE)
_FORMS = re.compile(
    r"(?<=://)[^/?#\s'\"@]*:[^/\s'\"]*(?=@)"  # name and password; not the @ of hf://gpt2@main
    r"|(?<=https://)[^/\s'\"]+(?=@)|(?<=http://)[^/\s'\"]+(?=@)"
    r"|\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{16,}"
    r"|(?<=[Bb]earer )[^\s'\"]+"
)
_PARAMETER = re.compile(
    r"([?&][a-z_-]*(?:token|key|secret|sig|signature|password|credential|policy)=)[^&#\s'\"]+", re.IGNORECASE
)
"""The end of a signed address."""
_ASSIGNED = re.compile(rf"\b((?:{_NAMES})\\*[\"']?\s*[:=]\s*\\*[\"']?)[^\s\"'\\&,;}}]+", re.IGNORECASE)
_HTTP_USER = re.compile(r"^https?://(?P<user>.*)@", re.IGNORECASE)
"""Up to the last `@`, because a password may have any character."""
_WITH_PASSWORD = re.compile(r"^(?:[a-z]+://)?(?P<user>[^/@]*:[^/@]+)@", re.IGNORECASE)
"""Name and password in other addresses; `hf://org/name@main` does not match."""
_TAIL = re.compile(r"^https?://[^?#]*[?#](?P<tail>.+)$", re.IGNORECASE | re.DOTALL)

_remembered: set[str] = set()
_remembered_parameters: set[str] = set()
"""`name=value` as written in an address."""


def remember(address: str) -> None:
    """Hide the credentials of an address from now on, however they are spelled.

    Credentials are name and password, and everything after `?` or `#` of an http address, because servers
    choose the name of the parameter with the key (`code=`, `k=`).
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
    """Return whether the text is a host and path with an `@` in it, not a name and password."""
    host, slash, _ = text.partition("/")
    return bool(slash) and (":" not in host or host.rpartition(":")[2].isdigit())


def without_secrets(text: str) -> str:
    """Return the text with `***` for passwords, keys and tokens."""
    for secret in _known():
        text = text.replace(secret, HIDDEN)
    for parameter in sorted(_remembered_parameters, key=len, reverse=True):
        name, equals, _ = parameter.partition("=")
        text = text.replace(parameter, f"{name}={HIDDEN}" if equals else HIDDEN)
    text = _FORMS.sub(HIDDEN, text)
    text = _PARAMETER.sub(rf"\1{HIDDEN}", text)
    return _ASSIGNED.sub(rf"\1{HIDDEN}", text)


def redacted(value: Any) -> Any:
    """Return a JSON value with `***` for the secrets in it."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if isinstance(item, str) and item and _ENTRY.fullmatch(str(key)) else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def _known() -> list[str]:
    """Return the known secrets, the longest first; those of addresses in the environment are remembered."""
    keys = set()
    for name, value in os.environ.items():
        is_of_key, is_of_address = _named(name)
        if is_of_key and _is_key(value):
            keys.add(value)
        if is_of_address and "@" in value:
            remember(value)
        if is_of_address:
            keys.update(part for part in _path_parts(value) if _is_key(part))
    return sorted(keys | _remembered, key=len, reverse=True)


def _path_parts(address: str) -> list[str]:
    """Return the folders in the path of an address; a mirror may have a key there."""
    path = re.match(r"https?://[^/?#]*([^?#]*)", address, re.IGNORECASE)
    return path[1].split("/") if path else []


@functools.lru_cache(maxsize=1024)
def _named(variable: str) -> tuple[bool, bool]:
    """Return whether an environment variable has the name of a key, and of an address."""
    return bool(_ENVIRONMENT.search(variable)), bool(_ADDRESS.search(variable))


def _is_key(value: str) -> bool:
    """Return whether a value is too long or too mixed to be a normal word."""
    return len(value) >= SHORTEST and (len(value) >= 20 or not value.replace("-", "").isalpha())
