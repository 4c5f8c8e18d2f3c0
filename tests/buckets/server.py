"""A real S3 server on loopback: moto behind a door that can refuse, fail and wait as stores do.
A conditional put is a look and a write to moto; the door lets one request write at a time, as S3 decides
between two of them too.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milepost.buckets import as_path
from milepost.store.bucket_files import files_of

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

READ_ONLY = "read-only"
"""Buckets whose name begins so cannot be written, and those that begin with `forbidden` not even listed."""
FORBIDDEN = "forbidden"
_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_BUSY = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
)


@dataclass
class Door:
    """The way into the server."""

    app: Wsgi
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request so far."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Those of them that were refused because the store was `busy`."""
    busy: int = 0
    """The next so many requests are refused with 503 SlowDown."""
    latency_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path))
        time.sleep(self.latency_s)
        if self.busy:
            self.busy -= 1
            self.refused.append((method, path))
            return _refusal(start, "503 Slow Down", _BUSY)
        bucket = path.strip("/").partition("/")[0]
        if bucket.startswith(FORBIDDEN) or (
            bucket.startswith(READ_ONLY) and method in ("PUT", "POST", "DELETE")
        ):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _refusal(start, "403 Forbidden", b"" if method == "HEAD" else _DENIED)
        if method in ("PUT", "POST", "DELETE"):
            with self.lock:
                return list(self.app(environ, start))
        return self.app(environ, start)


def _refusal(start: Callable[..., Any], status: str, body: bytes) -> list[bytes]:
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


@dataclass
class S3Server:
    """A server that answers at `url`."""

    url: str
    door: Door

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test-key",
            "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def code(self) -> str:
        """Python code that puts this environment into a process."""
        return f"import os; os.environ.update({self.environment!r})"

    def copy(self, address: str, folder: Path) -> Path:
        """Write what is in a folder of a bucket into a folder on the disk."""
        files, key = files_of(as_path(address))
        for one in files.bucket.list_folder(key, recursive=True)[0]:
            path = folder / one.key.removeprefix(f"{key}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files.bucket.read(one.key))
        return folder

    def upload(self, folder: Path, address: str) -> str:
        """Write the files of a folder into a bucket; returns the address."""
        files, key = files_of(as_path(address))
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                files.bucket.write(f"{key}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return address

    def writes(self, part: str) -> Counter[str]:
        """Return how often each object with `part` in its name was written."""
        asked, refused = (
            Counter(path for method, path in requests if method == "PUT" and part in path)
            for requests in (self.door.requests, self.door.refused)
        )
        return asked - refused

    def make_bucket(self, name: str) -> str:
        """Make a bucket past the door; returns its address."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(name, "us-east-1")
        return f"s3://{name}"

    def has_bucket(self, name: str) -> bool:
        """Return whether there is a bucket of that name."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        return name in s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets


@contextmanager
def serve() -> Iterator[S3Server]:
    """Serve on a free port of loopback until the block ends."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: object) -> None: ...

    door = Door(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, door, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, name="s3-server", daemon=True)
    thread.start()
    try:
        yield S3Server(f"http://127.0.0.1:{server.server_port}", door)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
