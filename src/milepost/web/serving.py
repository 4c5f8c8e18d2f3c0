"""Serve the dashboard on a port of this machine, until Ctrl-C."""

from __future__ import annotations

import errno
import gc
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from milepost.errors import MilepostError
from milepost.text.language import Phrase
from milepost.web.app import make_app
from milepost.web.port_holder import holder_of
from milepost.web.safety import is_loopback, new_token, rules_for

DEFAULT_PORT = 8730
SECONDS_TO_END = 2
"""After Ctrl-C, for answers that are being sent."""
COLLECTED_AFTER = (100_000, 20, 20)
"""Thresholds of the garbage collector."""


@dataclass(frozen=True, slots=True)
class Address:
    """The place where a dashboard is served."""

    host: str
    port: int
    token: str | None

    @property
    def url(self) -> str:
        """The address to open in a browser, with the token where one is needed."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        if self.host in ("0.0.0.0", "::"):
            name = socket.getfqdn()
        return f"http://{name}:{self.port}/" + (f"?token={self.token}" if self.token else "")


def serve(
    results: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    baselines: Path | None = None,
    ready: Callable[[Address], None],
) -> None:
    """Serve the dashboard of results folders until the process is asked to end.

    Args:
        results: at least one.
        host: where to listen; beyond this machine a token is asked of every reader.
        port: 0 for the next free one from `DEFAULT_PORT` on.
        baselines: as of `make_app`.
        ready: called with the address once the port is ours.

    Raises:
        ResultsError: one is no results folder, or of a newer version.
        MilepostError: the port is taken, or the host is none of this machine.
        KeyboardInterrupt: it was ended by Ctrl-C.
    """
    token = None if is_loopback(host) else new_token()
    with _few_collections():
        app = make_app(*results, rules=rules_for(host, token), baselines=baselines)
    with closing(_listen(host, port)) as listening:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=SECONDS_TO_END,
        )
        ready(Address(host, listening.getsockname()[1], token))
        app.state.prepare()
        server = _Server(config, app.state.end)
        server.run(sockets=[listening])
        if server.interrupted:
            # Uvicorn hands the signal on to whoever listened before it. Where that is nobody, because a shell
            # that starts a program in the background has it ignore Ctrl-C, the end is told here.
            raise KeyboardInterrupt


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector look seldom, and never at what is made inside, which stays with the server.

    A page makes tens of thousands of rows, and looking at all records for each thousand takes longer.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*COLLECTED_AFTER)
        gc.enable()


class _Server(uvicorn.Server):
    """A server that ends its streams when it is asked to end; else it would wait for their readers."""

    def __init__(self, config: uvicorn.Config, end: Callable[[], None]) -> None:
        super().__init__(config)
        self._end = end
        self.interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.interrupted = self.interrupted or sig == signal.SIGINT
        self._end()
        super().handle_exit(sig, frame)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; for port 0 at the first free port from `DEFAULT_PORT` on."""
    if port:
        return _bind(host, port)
    for each in range(DEFAULT_PORT, DEFAULT_PORT + 100):
        with suppress(_Taken):
            return _bind(host, each)
    return _bind(host, 0)


class _Taken(MilepostError):
    """Another process listens there."""


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise MilepostError(
            Phrase("--host {host}: {reason}", host=host, reason=error.strerror),
            "leave it out, or name one of this machine",
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            hint = Phrase("`--port 0` takes the next free one")
            raise _Taken(_taken(port), hint) from error
        if error.errno == errno.EACCES:
            raise MilepostError(
                Phrase("port {port} may not be used", port=port), Phrase("choose one above 1023")
            ) from error
        hint = Phrase("leave it out, or name one of this machine")
        raise MilepostError(
            Phrase("--host {host}: {reason}", host=host, reason=error.strerror), hint
        ) from error
    return listening


def _taken(port: int) -> Phrase:
    holder = holder_of(port)
    if holder is None:
        return Phrase("port {port} is taken by another process", port=port)
    return Phrase(
        "port {port} is taken by process {pid} ({command})", port=port, pid=holder.pid, command=holder.command
    )
