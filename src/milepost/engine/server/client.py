"""Asking an OpenAI-compatible server: its address, its model, one request or several at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from milepost.credentials import remember
from milepost.environment_urls import check_proxies
from milepost.errors import MilepostError

Item = TypeVar("Item")
Value = TypeVar("Value")

AT_ONCE = 16
"""Requests under way; a server batches them itself."""
TRIES = 4
FIRST_PAUSE_S = 0.5
BUSY = (429, 502, 503, 504)
CONNECT_S, ANSWER_S = 10.0, 1800.0
_EXAMPLE = "for example --base-url http://127.0.0.1:8000/v1"


class RefusedError(Exception):
    """The server understood the request and will not do it; the message is its own."""


@dataclass(frozen=True, slots=True)
class ServerClient:
    """One model of one server."""

    base_url: str
    model: str
    _http: httpx.Client

    @classmethod
    def connect(cls, base_url: str, model: str | None = None) -> ServerClient:
        """Find the server and its model.

        Args:
            base_url: such as `http://127.0.0.1:8000/v1`.
            model: the name it serves; None where it serves but one.

        Raises:
            MilepostError: no such address, nobody there, or no such model.
        """
        remember(base_url)
        if not base_url.startswith(("http://", "https://")):
            raise MilepostError(f"--base-url {base_url!r} is not an address", _EXAMPLE)
        check_proxies()
        key = os.environ.get("OPENAI_API_KEY")
        try:
            http = httpx.Client(
                base_url=base_url.rstrip("/") + "/",
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=AT_ONCE),
            )
        except httpx.InvalidURL as error:
            raise MilepostError(f"--base-url {base_url!r} is not an address: {error}", _EXAMPLE) from error
        except UnicodeEncodeError as error:
            raise MilepostError(
                "OPENAI_API_KEY holds a character that no key has", "set it anew, without quotes or spaces"
            ) from error
        client = cls(base_url, model or "", http)
        try:
            served = [str(one["id"]) for one in client._ask("GET", "models")["data"]]
        except (RefusedError, KeyError, TypeError) as error:
            raise MilepostError(
                f"{base_url} does not answer as an OpenAI-compatible server does: {error}",
                "its address ends in /v1 with vLLM and SGLang",
            ) from error
        if model is None and len(served) == 1:
            return cls(base_url, served[0], http)
        if model not in served:
            what = f"no model {model!r}" if model else f"{len(served)} models"
            raise MilepostError(
                f"{base_url} serves {what}", "pass --served-model with one of: " + ", ".join(served[:10])
            )
        return client

    def complete(self, **payload: Any) -> dict[str, Any]:
        """One request to the completions endpoint.

        Raises:
            RefusedError: the server will not do it.
            MilepostError: the server is gone, or answers with something else.
        """
        return self._ask("POST", "completions", {"model": self.model, **payload})

    def each(self, work: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
        """`work` on every item, several at once, in order."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(work, items))

    def _ask(self, method: str, path: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        for attempt in range(TRIES):
            try:
                answer = self._http.request(method, path, json=payload)
            except httpx.TransportError as error:
                if attempt + 1 == TRIES:
                    raise MilepostError(
                        f"the server at {self.base_url} cannot be reached: {type(error).__name__}",
                        "start it, or correct --base-url; what is scored is kept",
                    ) from error
            else:
                if answer.status_code not in BUSY or attempt + 1 == TRIES:
                    return _content(answer)
            time.sleep(FIRST_PAUSE_S * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


def _content(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError as error:
        raise RefusedError(f"status {answer.status_code}, and no JSON") from error
    if answer.is_error or not isinstance(content, dict):
        raise RefusedError(f"status {answer.status_code}: {_message(content)}")
    return content


def _message(content: Any) -> str:
    told = content.get("error", content) if isinstance(content, dict) else content
    if isinstance(told, dict):
        told = told.get("message", told)
    return " ".join(str(told).split())[:300]
