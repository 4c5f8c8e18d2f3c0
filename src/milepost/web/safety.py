"""Decide which requests are answered, and with which headers: nobody but the reader gets at the results.

- Only GET and HEAD: nothing can be changed.
- The Host must be a name of this machine, so that a page elsewhere cannot reach it under a name of its own
  (DNS rebinding).
- A request that another site's page makes is refused by its Origin, and by Sec-Fetch-Site.
- Beyond 127.0.0.1 a token is asked for: in the address once, afterwards in a cookie.
- Pages may load scripts, styles and pictures from here alone, and have none inline.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from milepost.errors import MilepostError
from milepost.text.language import Phrase
from milepost.web.errors import error_response

METHODS = ("GET", "HEAD")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
COOKIE = "milepost-token-"
"""With the port: cookies are common to all ports of a machine."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules on who may ask."""

    hosts: frozenset[str] = LOOPBACK
    """Names of this machine, in lower case."""
    any_address: bool = False
    """Whether the Host may also be any address in numbers: a server on all of the machine's addresses."""
    token: str | None = None


LOCAL = Rules()
"""For programs of this machine."""


def rules_for(host: str, token: str | None) -> Rules:
    """Return the rules of a server that listens at `host`; `token` is None only on this machine itself."""
    names = {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower(), *LOOPBACK}
    if is_loopback(host):
        return Rules(frozenset({host.lower(), *LOOPBACK}), token=token)
    return Rules(frozenset(names), any_address=_is_address(host), token=token)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(24)


class Guard:
    """ASGI middleware that refuses what `Rules` do not allow, and adds the headers of `HEADERS`."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sets_cookie = False
        refused = self._refusal(scope, headers)
        if refused is None and self._rules.token is not None:
            sets_cookie = _is(self._rules.token, _token_in_query(scope))
            if not sets_cookie and not _is(self._rules.token, _token_in_headers(headers, _cookie_of(scope))):
                refused = (
                    401,
                    MilepostError(
                        Phrase("a token is needed"), Phrase("open the address that `milepost serve` printed")
                    ),
                )

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own.setdefault(name, value)
                if sets_cookie:
                    value = f"{_cookie_of(scope)}={self._rules.token}; Path=/; HttpOnly; SameSite=Strict"
                    own.append("set-cookie", value)
            await send(message)

        if refused is not None:
            response = error_response(HTTPConnection(scope), *refused)
            await response(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, MilepostError] | None:
        """Return status and error for a request that is not answered."""
        if scope["method"] not in METHODS:
            return 405, MilepostError(Phrase("only GET is answered: nothing can be changed here"))
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(_name_in(f"//{hosts[0]}")):
            hint = Phrase("reach it as 127.0.0.1 or localhost, or start it with `milepost serve --host NAME`")
            return 403, MilepostError(Phrase("this server has another name"), hint)
        origin = headers.get("origin")
        other_origin = origin is not None and _place_in(origin) != _place_in(f"//{hosts[0]}")
        if other_origin or (_is_from_elsewhere(headers) and not _is_a_link(headers)):
            return 403, MilepostError(Phrase("pages of other sites get no answer"))
        return None

    def _is_ours(self, name: str | None) -> bool:
        return name is not None and (
            name in self._rules.hosts or (self._rules.any_address and _is_address(name))
        )


def _is_from_elsewhere(headers: Headers) -> bool:
    return headers.get("sec-fetch-site") in ("cross-site", "same-site")


def _is_a_link(headers: Headers) -> bool:
    """Return whether a reader follows a link; a frame or a picture of another site's page is none."""
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name_in(address: str) -> str | None:
    try:
        name = urlsplit(address).hostname
    except ValueError:
        return None
    return name and name.removesuffix(".")


def _place_in(address: str) -> tuple[str | None, int | None] | None:
    """Return name and port; None for something that is no address, such as the origin `null`."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.hostname, port or 80


def _token_in_query(scope: Scope) -> str:
    query: str = scope["query_string"].decode("latin-1")
    return parse_qs(query).get("token", [""])[-1]


def _cookie_of(scope: Scope) -> str:
    server = scope.get("server") or ("", 0)
    return f"{COOKIE}{server[1]}"


def _token_in_headers(headers: Headers, cookie_name: str) -> str:
    kind, _, bearer = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return bearer.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name)
    except CookieError:
        return ""
    return cookie.value if cookie is not None else ""


def _is(token: str, given: str) -> bool:
    return secrets.compare_digest(token.encode(), given.encode("utf-8", "surrogateescape"))
