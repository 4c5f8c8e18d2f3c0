"""A server between us and the offline hub that answers once what a hub should not: busy, damaged, hostile.

It also counts: what it passed on whole is what a good line would have cost.
"""

from __future__ import annotations

import fnmatch
import http.client
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_PASSED_ON = ("Content-Type", "ETag", "X-Repo-Commit", "X-Linked-Size", "X-Linked-ETag", "Content-Range",
              "Accept-Ranges", "X-Error-Code", "X-Error-Message")  # fmt: skip


class Passed(NamedTuple):
    """A file that went through whole."""

    path: str
    n_bytes: int


@dataclass
class Fault:
    """What to do to the first `times` answers to GET requests for a path."""

    pattern: str
    times: int = 1
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    change: Callable[[bytes], bytes] | None = None

    def takes(self, path: str) -> bool:
        if self.times < 1 or not fnmatch.fnmatchcase(path, self.pattern):
            return False
        self.times -= 1
        return True


class BadLine:
    """Use as a context manager; `url` is the endpoint to give to clients."""

    def __init__(self, hub: str, *faults: Fault) -> None:
        self.faults = list(faults)
        self.requests: list[str] = []
        """`METHOD PATH` of each."""
        self.passed: list[Passed] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, urlsplit(hub).netloc))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> BadLine:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def downloads(self) -> list[str]:
        """Names of the files that went through whole, in alphabetical order."""
        return sorted(passed.path.rpartition("/")[2] for passed in self.passed)

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append(f"{method} {path}")
            return next((fault for fault in self.faults if method == "GET" and fault.takes(path)), None)


def _handler(line: BadLine, upstream: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            fault = line.fault_for(self.command, path)
            if fault is not None and fault.status is not None:
                self.answer(fault.status, fault.headers, b"{}")
                return
            hub = http.client.HTTPConnection(upstream, timeout=20)
            hub.request(self.command, self.path, headers=self.asked())
            answer = hub.getresponse()
            headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
            length = int(answer.headers.get("Content-Length", "0"))
            try:
                body = answer.read()
            except http.client.IncompleteRead as cut:
                body = cut.partial
                self.close_connection = True
            if fault is not None and fault.change is not None:
                body = fault.change(body)
                length = len(body)
            self.answer(answer.status, headers, body, length)
            if self.command == "GET" and "/resolve/" in path and len(body) == length:
                line.passed.append(Passed(path, length))

        do_HEAD = do_GET

        def asked(self) -> dict[str, str]:
            return {name: self.headers[name] for name in ("Range", "If-Range") if name in self.headers}

        def answer(
            self, status: int, headers: Mapping[str, str], body: bytes, length: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return None

    return Handler
