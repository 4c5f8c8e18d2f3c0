"""A Hub that refuses, lies or never ends: one true line each, in bounded memory and time."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

COMMIT = "a" * 40
CONFIG = json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}).encode()
WEIGHTS = b"x" * 200
MIB = 1 << 20

PREAMBLE = """
from milepost.errors import MilepostError
from milepost.sources import discover, fetch
from milepost.sources.hub import bounds as hub_bounds
from milepost.sources.hub import requests as hub_requests
hub_requests.PAUSES_S = (0.01,) * 6
hub_bounds.JUDGED_AFTER_S = 1.0
hub_bounds.SILENCE_S = 2.0
hub_bounds.MAX_REQUESTS = 30
try:
    for one in discover("hf://own/model").checkpoints:
        print("problem", one.problem)
        print("fetched", fetch(one).is_dir())
except MilepostError as error:
    print(type(error).__name__, "|", error.message, "|", error.hint)
# Not ru_maxrss: a child process inherits that of its parent.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""

Answer = Callable[["Handler"], bool]


class Handler(http.server.BaseHTTPRequestHandler):
    """A Hub with one model of two files; `evil` answers first, and says whether it did."""

    protocol_version = "HTTP/1.1"
    evil: Answer = staticmethod(lambda handler: False)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        try:
            if not type(self).evil(self):
                self._answer()
        except OSError:
            self.close_connection = True  # the other side had enough

    do_HEAD = do_GET

    def _answer(self) -> None:
        if "/refs" in self.path:
            self.send(b'{"branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": "%s"}]}'
                      % COMMIT.encode())  # fmt: skip
        elif "/tree/" in self.path:
            self.send(json.dumps(tree()).encode())
        elif "/api/" in self.path:
            self.send(json.dumps({"id": "own/model", "sha": COMMIT, "siblings": []}).encode())
        else:
            content = CONFIG if self.path.endswith("config.json") else WEIGHTS
            self.send(content, ETag=f'"{git_id(content)}"')

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"X-Repo-Commit": COMMIT, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def pour(self, part: bytes, n_bytes: int, pause_s: float = 0.0) -> None:
        """A body that does not say how long it is."""
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.close_connection = True
        for _ in range(n_bytes // len(part)):
            self.wfile.write(part)
            self.wfile.flush()
            time.sleep(pause_s)


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def tree() -> list[dict[str, Any]]:
    files = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
    return [
        {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
        for path, content in files.items()
    ]


@contextmanager
def serving(evil: Answer) -> Iterator[str]:
    handler = type("Evil", (Handler,), {"evil": staticmethod(evil)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def told_of(evil: Answer, tmp_path: Path, **environment: str) -> tuple[list[str], int]:
    """Return the outcome of discovering and fetching the model, and the process's peak memory in bytes."""
    with serving(evil) as address:
        home = str(tmp_path / "home")
        own = {"HF_ENDPOINT": address, "HF_HOME": home, "MILEPOST_CACHE": home, "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-c", PREAMBLE],
            env={**os.environ, **own, **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    *said, peak = done.stdout.replace(address, "HUB").splitlines()
    assert "Traceback" not in done.stderr
    return said, int(peak) * 1024


def refusing(status: int, code: str = "", message: str = "", path: str = "") -> Answer:
    def evil(handler: Handler) -> bool:
        if path not in handler.path:
            return False
        headers = {"X_Error_Code": code} if code else {}
        handler.send(b"", status, X_Error_Message=message, **headers)
        return True

    return evil


TOKEN = "hf_" + "x" * 34
REFUSALS: dict[str, tuple[Answer, bool, str, str]] = {
    "gated": (refusing(401, "GatedRepo", "restricted", "/resolve/"), False,
              "its repository is gated, and no token is set (401)", "accept its conditions on its page at"),
    "gated, with a token": (refusing(403, "GatedRepo", "restricted", "/resolve/"), True,
              "its repository is gated, and the account of HF_TOKEN has no access (403)", "ask for access"),
    "bad token": (refusing(401, "", "Invalid credentials in Authorization header"), True,
              "HUB refuses the token (401)", "set HF_TOKEN to a valid token"),
    "bad token, other words": (refusing(401, "", "Invalid username or password."), True,
              "HUB refuses the token (401)", "set HF_TOKEN to a valid token"),
    "private": (refusing(401, "RepoNotFound", "Repository not found"), False,
              "there is no such repository at HUB, or it is private (401)", "set HF_TOKEN"),
    "missing": (refusing(404, "RepoNotFound", "Repository not found"), False,
              "there is no such repository at HUB, or it is private (404)", "check the name"),
    "missing, with a token": (refusing(404, "RepoNotFound", "Repository not found"), True,
              "there is no such repository at HUB, or it is private (404)", "HF_TOKEN cannot see it"),
    "forbidden": (refusing(403, "", "no", "/resolve/"), True,
              "access is forbidden (403)", "the token has no permission to read it"),
    "forbidden, no token": (refusing(403, "", "no"), False, "access is forbidden (403)", "set HF_TOKEN"),
    "file gone": (refusing(404, "EntryNotFound", "no", "/resolve/"), False,
              "a file is missing (404)", "the mirror is incomplete"),
    "disabled": (refusing(403, "", "Access to this resource is disabled."), False,
              "its repository has been disabled", "nobody can download it"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_why_and_what_to_do(tmp_path: Path, name: str) -> None:
    evil, with_token, message, hint = REFUSALS[name]
    said, _ = told_of(evil, tmp_path, HF_TOKEN=TOKEN if with_token else "")
    _, what, advice = said[-1].split(" | ")
    assert message in what
    assert hint in advice
    assert TOKEN not in " ".join(said)


def endless(page: Any) -> Answer:
    def evil(handler: Handler) -> bool:
        if "/tree/" not in handler.path:
            return False
        again = f"http://{handler.headers['Host']}{handler.path}"
        handler.send(json.dumps(page).encode(), Link=f'<{again}>; rel="next"')
        return True

    return evil


def pouring(path: str, part: bytes, pause_s: float = 0.0, n_bytes: int = 2000 * MIB) -> Answer:
    def evil(handler: Handler) -> bool:
        if path not in handler.path or handler.command == "HEAD":
            return False
        handler.pour(part, n_bytes, pause_s)
        return True

    return evil


def announcing(handler: Handler) -> bool:
    if "/tree/" not in handler.path:
        return False
    handler.send_response(200)
    handler.send_header("Content-Length", str(10**12))
    handler.end_headers()
    handler.wfile.write(b"[]")
    return True


@cache
def gzip_bomb() -> bytes:
    """Return 200 MiB as a few bytes, which takes longer to make than a hub may wait on a busy machine."""
    return gzip.compress(b" " * (200 * MIB), compresslevel=1)


def squeezed(handler: Handler) -> bool:
    if "/tree/" not in handler.path:
        return False
    handler.send(gzip_bomb(), Content_Encoding="gzip")
    return True


def long_header(handler: Handler) -> bool:
    if "/tree/" not in handler.path:
        return False
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * (50 * MIB))
    return True


def redirecting(target: str) -> Answer:
    def evil(handler: Handler) -> bool:
        if "/resolve/" not in handler.path:
            return False
        handler.send(b"", 302, Location=target or handler.path)
        return True

    return evil


MORE = "a response of more than {} bytes"
MISCHIEF: dict[str, tuple[Answer, str]] = {
    "pages without end": (endless(tree()), "its listing does not end"),
    "empty pages without end": (endless([]), "its listing does not end"),
    "a listing of gigabytes": (pouring("/tree/", b"[]," * 300_000), MORE.format(64 * MIB)),
    "a config of gigabytes": (pouring("config.json", b" " * MIB), MORE.format(MIB)),
    "weights of gigabytes": (
        pouring("model.safetensors", b" " * MIB),
        MORE.format(MIB),
    ),
    "a listing byte by byte": (pouring("/tree/", b" ", 0.2), "bytes came in"),
    "a file byte by byte": (pouring("config.json", b" ", 0.2), "bytes came in"),
    "an absurd length": (announcing, "a response of 1000000000000 bytes"),
    "a compressed listing": (squeezed, "a compressed response"),
    "a header of megabytes": (long_header, "a response whose header does not end"),
    "a redirect in a circle": (redirecting(""), "hf://own/model"),
    "a redirect to a file": (redirecting("file:///etc/passwd"), "hf://own/model"),
}


@pytest.mark.parametrize("name", MISCHIEF)
def test_a_hub_without_measure_is_left_in_bounded_memory_and_time(tmp_path: Path, name: str) -> None:
    evil, words = MISCHIEF[name]
    gzip_bomb()
    said, peak = told_of(evil, tmp_path)
    assert words in said[-1]
    assert peak < 700 * MIB
    on_disk = sum(path.stat().st_size for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert on_disk < 10 * MIB


def test_a_hub_that_behaves_is_read_within_the_bounds(tmp_path: Path) -> None:
    said, _ = told_of(lambda handler: False, tmp_path)
    assert said == ["problem None", "fetched True"]
