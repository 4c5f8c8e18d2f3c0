"""A Google Cloud Storage server on loopback: the part of its JSON API that gcsfs uses, with generations.

https://cloud.google.com/storage/docs/json_api/v1. A put with `ifGenerationMatch=0` is refused with 412 where
there is an object, which emulators from packages do not do.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

NAMES_PER_PAGE = 5
"""Of a list; so that lists have several pages."""


@dataclass
class GcsServer:
    """The objects of one bucket, by name."""

    bucket: str
    url: str = ""
    objects: dict[str, tuple[dict[str, Any], bytes]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    busy: int = 0
    """The next so many requests are refused with 503."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this server."""
        return {"STORAGE_EMULATOR_HOST": self.url, "FSSPEC_GCS_TOKEN": "anon"}

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        request = Request(environ)
        with self._lock:
            return self._answer(request)(environ, start)

    def _answer(self, request: Request) -> Response:
        if self.busy:
            self.busy -= 1
            return _refusal(503, "backendError")
        path = _path_of(request)
        if path == f"upload/storage/v1/b/{self.bucket}/o" and request.method == "POST":
            return self._put(request)
        if path == f"storage/v1/b/{self.bucket}/o":
            return self._list(request)
        _, found, name = path.partition(f"storage/v1/b/{self.bucket}/o/")
        if not found:
            return _refusal(404, "no such bucket")
        name = unquote(name)
        if name not in self.objects:
            return _refusal(404, "no such object")
        described, content = self.objects[name]
        if request.method == "DELETE":
            del self.objects[name]
            return Response(status=204)
        return _part(request, content) if request.args.get("alt") == "media" else _json(described)

    def _put(self, request: Request) -> Response:
        _, about, content = request.get_data().split(b"--==0==\n", 2)
        name = json.loads(about.partition(b"\n\n")[2])["name"]
        data = content.partition(b"\n\n")[2].removesuffix(b"\n--==0==--")
        if request.args.get("ifGenerationMatch") == "0" and name in self.objects:
            return _refusal(412, "conditionNotMet")
        self.writes.append(name)
        generation = str(len(self.writes))
        described = {
            "kind": "storage#object",
            "name": name,
            "bucket": self.bucket,
            "size": str(len(data)),
            "generation": generation,
            "etag": f"etag-{generation}",
            "updated": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
            "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
        }
        self.objects[name] = described, data
        return _json(described)

    def _list(self, request: Request) -> Response:
        prefix, delimiter = request.args.get("prefix", ""), request.args.get("delimiter", "")
        items: dict[str, dict[str, Any]] = {}
        folders: set[str] = set()
        for name in sorted(self.objects):
            rest = name[len(prefix) :]
            if not name.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items[name] = self.objects[name][0]
        after = request.args.get("pageToken", "")
        names = [name for name in sorted([*items, *folders]) if name > after]
        page = names[:NAMES_PER_PAGE]
        answer: dict[str, Any] = {
            "kind": "storage#objects",
            "items": [items[name] for name in page if name in items],
            "prefixes": [name for name in page if name in folders],
        }
        if len(names) > len(page):
            answer["nextPageToken"] = page[-1]
        return _json(answer)


def _path_of(request: Request) -> str:
    """Return the path as it was sent, with slashes of names still quoted."""
    return str(request.environ["RAW_URI"]).partition("?")[0].strip("/")


def _part(request: Request, content: bytes) -> Response:
    given = request.headers.get("Range")
    if given is None:
        return Response(content)
    first, _, last = given.removeprefix("bytes=").partition("-")
    return Response(content[int(first) : int(last) + 1 if last else None], status=206)


def _json(answer: dict[str, Any]) -> Response:
    return Response(json.dumps(answer), content_type="application/json")


def _refusal(status: int, reason: str) -> Response:
    error = {"code": status, "message": reason, "errors": [{"reason": reason, "message": reason}]}
    return Response(json.dumps({"error": error}), status=status, content_type="application/json")


@contextmanager
def serve_gcs(bucket: str) -> Iterator[GcsServer]:
    """Serve a bucket on a free port of loopback until the block ends."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: object) -> None: ...

    made = GcsServer(bucket)
    server = make_server("127.0.0.1", 0, made, threaded=True, request_handler=Quiet)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, name="gcs-server", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
