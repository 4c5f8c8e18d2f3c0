"""`milepost serve` as a process: its address, a port that is taken, folders that are none, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli.called import milepost

PATIENCE_S = 120
"""For an answer of a server, or its end, on a busy machine."""
HEAVY = ("torch", "transformers", "lm_eval", "pandas")


@contextmanager
def served(results: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "milepost", "serve", str(results), "--port", "0", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = ""
    while not lines.rstrip().endswith("}"):
        line = process.stdout.readline()
        assert line, process.communicate()
        lines += line
    try:
        yield process, json.loads(lines)["url"]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(params=["at a prompt", "in the background"])
def _started(request: pytest.FixtureRequest) -> Iterator[None]:
    """A server starts at a prompt, or in the background, where shells have programs ignore SIGINT."""
    before = signal.signal(
        signal.SIGINT, signal.SIG_IGN if request.param == "in the background" else signal.default_int_handler
    )
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_started")
def test_it_answers_until_it_is_interrupted(made_results: Path) -> None:
    with served(made_results) as (process, url):
        with httpx.stream("GET", f"{url}events", timeout=PATIENCE_S) as events:
            assert next(lines := events.iter_lines()).startswith("data: ")
            process.send_signal(signal.SIGINT)
            assert not any(lines)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        assert errors.split() == ["interrupted"]


def test_a_server_for_others_says_its_token(made_results: Path) -> None:
    with served(made_results, "--host", "0.0.0.0") as (_, url):
        port, token = url.partition("?token=")[0].rpartition(":")[2], url.partition("?token=")[2]
        assert len(token) > 20
        local = f"http://127.0.0.1:{port}runs.json"
        assert httpx.get(local, timeout=PATIENCE_S).status_code == 401
        assert httpx.get(local, params={"token": token}, timeout=PATIENCE_S).status_code == 200


def test_a_port_that_is_taken_is_told_with_its_holder(made_results: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = milepost("serve", made_results, "--port", port)
    assert done.status == 2
    assert f"port {port} is taken by process {os.getpid()}" in done.err
    assert "--port 0" in done.err


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    done = milepost("serve", tmp_path, "--port", "0")
    assert done.status == 2
    assert "is not a results folder" in done.err


def test_a_host_of_another_machine_is_told(made_results: Path) -> None:
    done = milepost("serve", made_results, "--host", "192.0.2.1")
    assert done.status == 2
    assert "--host 192.0.2.1" in done.err


def test_no_page_imports_anything_heavy(real_results: Path) -> None:
    """Also, altair fails in one thread while another one imports pandas."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import milepost.cli.serve, milepost.web.serving\n"
        "from milepost.web.pages import PAGES\n"
        "from tests.web.conftest import client_of\n"
        "with client_of(Path(sys.argv[1])) as client:\n"
        "    for page in [page.name for page in PAGES] + ['questions?search=cat']:\n"
        "        assert client.get(page, headers={'accept': 'text/html'}).status_code == 200, page\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(real_results)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("version", [2, None])
def test_a_store_of_a_newer_version_is_told(tmp_path: Path, version: int | None) -> None:
    (tmp_path / "milepost.json").write_text(json.dumps({"format": "milepost-results", "version": version}))
    done = milepost("serve", tmp_path)
    assert done.status == 2
    assert "milepost.json" in done.err or "update milepost" in done.err
