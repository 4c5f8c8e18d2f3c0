"""A client of an OpenAI-compatible server: connects, finds the model, sends one or several requests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from milepost.errors import MilepostError
from milepost.network.environment_urls import check_proxies
from milepost.text.credentials import remember
from milepost.text.language import Phrase
from milepost.text.messages import one_line

Item = TypeVar("Item")
Value = TypeVar("Value")

CONCURRENT_REQUESTS = 16
"""A server batches them."""
TRIES = 4
FIRST_PAUSE_S = 0.5
BUSY = (429, 502, 503, 504)
CONNECT_S, ANSWER_S = 10.0, 1800.0
_EXAMPLE = Phrase("for example --base-url http://127.0.0.1:8000/v1")


class RefusedError(Exception):
    """The server refused a request; the message is the server's."""


@dataclass(frozen=True, slots=True)
class ServerClient:
    """A connection to one model of a server."""

    base_url: str
    model: str
    _http: httpx.Client

    @classmethod
    def connect(cls, base_url: str, model: str | None = None) -> ServerClient:
        """Connect to a server and find its model.

        Args:
            base_url: such as `http://127.0.0.1:8000/v1`.
            model: the name of the served model; None if the server has a single one.

        Raises:
            MilepostError: the address is invalid, the server does not answer or does not have the model.
        """
        remember(base_url)
        if not base_url.startswith(("http://", "https://")):
            raise MilepostError(
                Phrase("--base-url {address!r} is not an address", address=base_url), _EXAMPLE
            )
        check_proxies()
        key = os.environ.get("OPENAI_API_KEY")
        try:
            http = httpx.Client(
                base_url=base_url.rstrip("/") + "/",
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=CONCURRENT_REQUESTS),
            )
        except httpx.InvalidURL as error:
            raise MilepostError(
                Phrase("--base-url {address!r} is not an address: {error}", address=base_url, error=error),
                _EXAMPLE,
            ) from error
        except UnicodeEncodeError as error:
            raise MilepostError(
                "OPENAI_API_KEY has a character that no key contains", "set it without quotes and spaces"
            ) from error
        client = cls(base_url, model or "", http)
        try:
            served = [str(entry["id"]) for entry in client._ask("GET", "models")["data"]]
        except (RefusedError, KeyError, TypeError) as error:
            raise MilepostError(
                Phrase(
                    "{address} does not answer as an OpenAI-compatible server does: {error}",
                    address=base_url,
                    error=error,
                ),
                "the address of vLLM and SGLang ends in /v1",
            ) from error
        if model is None and len(served) == 1:
            return cls(base_url, served[0], http)
        if model not in served:
            what = (
                Phrase("{address} does not serve a model {model!r}", address=base_url, model=model)
                if model
                else Phrase("{address} serves {n} models", address=base_url, n=len(served))
            )
            raise MilepostError(
                what,
                Phrase("pass --served-model with one of: {names}", names=", ".join(served[:10])),
            )
        return client

    def complete(self, **payload: Any) -> dict[str, Any]:
        """Send one request to the completions endpoint and return its answer.

        Raises:
            RefusedError: the server refused it.
            MilepostError: the server cannot be reached.
        """
        return self._ask("POST", "completions", {"model": self.model, **payload})

    def each(self, work: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
        """Return the results of `work` for every item, in order; several items run at once."""
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as threads:
            return list(threads.map(work, items))

    def _ask(self, method: str, path: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        for attempt in range(TRIES):
            try:
                answer = self._http.request(method, path, json=payload)
            except httpx.TransportError as error:
                if attempt + 1 == TRIES:
                    raise MilepostError(
                        Phrase(
                            "the server at {address} cannot be reached: {kind}",
                            address=self.base_url,
                            kind=type(error).__name__,
                        ),
                        "start it, or correct --base-url; scores so far are kept",
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
        raise RefusedError(f"status {answer.status_code}, and the body is not JSON") from error
    if answer.is_error or not isinstance(content, dict):
        raise RefusedError(f"status {answer.status_code}: {_message(content)}")
    return content


def _message(content: Any) -> str:
    error = content.get("error", content) if isinstance(content, dict) else content
    if isinstance(error, dict):
        error = error.get("message", error)
    return one_line(error, 300)
